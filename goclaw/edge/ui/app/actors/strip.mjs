// Above every view: how many actors in which state, and how the node is.
import { clock, compact } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { href, refine, route } from '../core/router.mjs'
import { Bars } from '../ui/chart.mjs'
import { Icon } from '../ui/parts.mjs'
import { STATES } from './states.mjs'

export function Strip({ tree, vitals, now }) {
  const totals = tree.totals.value
  if (!totals) return null
  const { rate, loop_lag_ms: lag, zombie_threads: zombies } = totals
  vitals.version.value // the bars follow it
  const minutes = vitals.minutes(now)
  const restarts = Math.max(totals.restarts_1h ?? 0, minutes.reduce((a, b) => a + b, 0))
  const texts = minutes.map((n, i) => `${clock(now - (minutes.length - 1 - i) * 60_000)} · ${number(n)}`)
  const chosen = route.value.query.state
  const figures = [
    ['rate', rate == null ? '–' : compact(rate)], ['lag', lag == null ? '–' : `${number(lag)} ms`],
    ['waiting', number(totals.mailbox_depth ?? 0)], ['dropped', number(totals.dropped ?? 0)], ['zombies', zombies == null ? '–' : number(zombies)],
  ]
  return html`
    <div class="strip">
      <div class="states" role="group" aria-label=${t('actors.total')}>
        <span class="figure"><b>${number(totals.actors)}</b> ${t('actors.total')}</span>
        ${STATES.filter((state) => totals.by_state?.[state] || state === chosen).map((state) => html`
          <button type="button" key=${state} class="state" aria-pressed=${String(state === chosen)} onClick=${() => refine({ state: state === chosen ? '' : state })}>
            <i class="glyph" data-state=${state}></i><b>${number(totals.by_state[state] ?? 0)}</b> ${t(`actors.state.${state}`)}</button>`)}
      </div>
      <a class="figure restarts" href=${href('actors', { view: 'crashes' })} title=${t('actors.restarts_1h')}>
        <${Bars} values=${minutes} texts=${texts} label=${t('actors.restarts.bars', { n: restarts })} /><span><b>${number(restarts)}</b> ${t('actors.restarts_1h')}</span></a>
      ${figures.map(([name, value]) => html`<span key=${name} class="figure" title=${t(`actors.figure.${name}.hint`)}><b>${value}</b> ${t(`actors.figure.${name}`)}</span>`)}
    </div>`
}

// What nobody may overlook: health made worse by an actor, and how many are quarantined.
export function Alarms({ tree, vitals, onBulk }) {
  const health = vitals.health.value
  const locked = tree.totals.value?.by_state?.quarantined ?? 0
  const path = /(?:^|[\s(])(\/[\w.:@~%/-]+)/.exec(health?.reason ?? '')?.[1]
  if (!health && !locked) return null
  return html`
    <p class="banner" data-tone=${locked ? 'err' : 'warn'}><${Icon} name="triangle-alert" />
      ${health && html`<span>${t('actors.degraded')} ${health.reason}</span>`}
      ${path && html`<a href=${href('actors', { ...route.value.query, sel: path, tab: 'overview' })}>${t('actors.show')}</a>`}
      ${locked > 0 && html`<b>${t('actors.locked', { n: locked })}</b>
        <button type="button" class="quiet" onClick=${() => refine({ view: '', state: 'quarantined' })}>${t('actors.show.all')}</button>
        ${onBulk && html`<button type="button" class="quiet" onClick=${onBulk}>${t('actors.bulk')}</button>`}`}</p>`
}
