// One job: what it says, when it runs next, and what became of its runs.
import { useEffect, useState } from 'preact/hooks'
import { compact, duration } from '../core/format.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { href } from '../core/router.mjs'
import { Markdown } from '../ui/markdown.mjs'
import { Ago, IconButton, Trouble } from '../ui/parts.mjs'
import { Upcoming } from './form.mjs'

const LINES = 20

export function Detail({ job, acts, turn, onClose }) {
  const [answer, setAnswer] = useState(null)
  const [error, setError] = useState(null)
  useEffect(() => {
    let wanted = true
    gateway
      .call('cron.runs', { jobId: job.id, limit: LINES, offset: 0 })
      .then((found) => wanted && (setAnswer(found), setError(null)))
      .catch((refusal) => wanted && refusal.details?.reason !== 'connection_lost' && setError(refusal))
    return () => (wanted = false)
  }, [job.id, turn])
  return html`
    <section class="job" aria-label=${t('cron.detail', { name: job.name })}>
      <header class="page-bar"><h2>${job.name}</h2>
        <a href=${href('chat', { session: `agent:${job.agentKey}:cron:${job.id}` })}>${t('cron.session')}</a>
        ${may('operator') && html`<button type="button" onClick=${() => acts.edit(job)}>${t('cron.act.edit')}</button>
          <button type="button" onClick=${() => acts.copy(job)}>${t('cron.act.copy')}</button>
          <button type="button" onClick=${() => acts.remove(job)}>${t('delete')}</button>`}
        <${IconButton} icon="x" label=${t('close')} onClick=${onClose} /></header>
      ${job.payload.promptFile ? html`<p><code>${job.payload.promptFile}</code></p>` : html`<${Markdown} text=${job.payload.message} />`}
      ${job.enabled && html`<${Upcoming} schedule=${job.schedule} />`}
      <h3>${t('cron.runs')}</h3>
      ${error && html`<${Trouble} error=${error} />`}
      ${answer?.total === 0 && html`<p class="muted">${t('cron.runs.none')}</p>`}
      ${answer?.total > 0 && html`<table class="table">
        <thead><tr><th scope="col">${t('cron.runs.time')}</th><th scope="col">${t('cron.col.status')}</th><th scope="col" class="number">${t('cron.runs.took')}</th>
          <th scope="col" class="number">${t('sessions.tokens')}</th><th scope="col">${t('cron.runs.says')}</th></tr></thead>
        <tbody>${answer.entries.map((entry) => html`<${Line} key=${entry.id} entry=${entry} />`)}</tbody>
      </table>`}
    </section>`
}

const Line = ({ entry }) => html`
  <tr><td>${entry.runId ? html`<a href=${href('runs', {}, entry.runId)}><${Ago} at=${entry.ts} /></a>` : html`<${Ago} at=${entry.ts} />`}</td>
    <td><span class="status" data-status=${entry.status}>${t(`cron.status.${entry.status}`)}</span>${entry.attempt > 1 && html` <span class="muted">${t('cron.attempt', { attempt: entry.attempt })}</span>`}</td>
    <td class="number">${entry.durationMs == null ? '' : duration(entry.durationMs)}</td>
    <td class="number">${compact(entry.inputTokens + entry.outputTokens)}</td>
    <td class="says" title=${entry.error ?? entry.summary}>${entry.error ?? entry.summary}</td></tr>`
