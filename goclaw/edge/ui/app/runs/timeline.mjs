// What befell a run, event by event, with the time between them.
import { duration, fullTime } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'

const LONG = 1000 // ms between two events from which the gap is worth a line

export function Timeline({ trail, now }) {
  const at = ({ created_at: when }) => new Date(when).getTime()
  return html`
    <ol class="timeline">
      ${trail.map((event, i) => {
        const gap = i > 0 ? at(event) - at(trail[i - 1]) : 0
        return html`
          <li key=${event.event_id} data-state=${event.state_to ?? ''}>
            ${i > 0 && html`<span class="gap" data-long=${String(gap >= LONG)}>+${duration(gap)}</span>`}
            <i class="run-glyph" aria-hidden="true"></i>
            <div><b title=${event.type}>${nameOf(event.type)}</b>
              ${event.state_to && event.state_to !== event.state_from && html` <span class="moved">${event.state_from ? t(`runs.state.${event.state_from}`) : ''} → ${t(`runs.state.${event.state_to}`)}</span>`}
              ${event.reason && html` <code>${event.reason}</code>`}
              <p><time datetime=${event.created_at}>${fullTime(event.created_at)}</time>${event.actor && html` · <span title=${event.actor}>${t('runs.by', { who: event.actor.slice(-12) })}</span>`}${event.attempt > 0 && html` · <span>${t('runs.attempt', { n: event.attempt })}</span>`}</p>
              ${Object.keys(event.payload).length > 0 && html`<details><summary>${t('runs.payload')}</summary><pre tabindex="0">${JSON.stringify(event.payload, null, 2)}</pre></details>`}</div>
          </li>`
      })}
      ${now && html`<li class="now"><i class="dot live" aria-hidden="true"></i><span class="muted">${t('runs.now')}</span></li>`}
    </ol>`
}

// An event of a later version is shown as it is called.
function nameOf(type) {
  const text = t(`runs.event.${type}`)
  return text === `runs.event.${type}` ? type : text
}
