// One agent's heartbeat: its checklist, to read or to write, and what came of its beats.
import { useEffect, useState } from 'preact/hooks'
import { compact, duration } from '../core/format.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Ago, IconButton, reasonOf, say, Trouble } from '../ui/parts.mjs'

const LINES = 20
const REASONS = ['active_hours', 'queue_busy', 'empty_checklist', 'agent_inactive', 'duplicate']

export function Detail({ row, acts, turn, onClose }) {
  const [answer, setAnswer] = useState(null)
  const [error, setError] = useState(null)
  useEffect(() => {
    let wanted = true
    gateway
      .call('heartbeat.logs', { agentId: row.id, limit: LINES, offset: 0 })
      .then((found) => wanted && (setAnswer(found), setError(null)))
      .catch((refusal) => wanted && refusal.details?.reason !== 'connection_lost' && setError(refusal))
    return () => (wanted = false)
  }, [row.id, turn])
  return html`
    <section class="job" aria-label=${t('beats.detail', { name: row.name })}>
      <header class="page-bar"><h2>${row.name}</h2>
        ${may('admin') && row.heartbeat && html`<button type="button" onClick=${() => acts.test(row)}>${t('beats.act.test')}</button>`}
        <${IconButton} icon="x" label=${t('close')} onClick=${onClose} /></header>
      <${Checklist} key=${row.id} agent=${row.id} />
      <h3>${t('beats.log')}</h3>
      ${error && html`<${Trouble} error=${error} />`}
      ${answer?.total === 0 && html`<p class="muted">${t('beats.log.none')}</p>`}
      ${answer?.total > 0 && html`<table class="table">
        <thead><tr><th scope="col">${t('cron.runs.time')}</th><th scope="col">${t('beats.col.status')}</th><th scope="col" class="number">${t('cron.runs.took')}</th>
          <th scope="col" class="number">${t('sessions.tokens')}</th><th scope="col">${t('cron.runs.says')}</th></tr></thead>
        <tbody>${answer.logs.map((line) => html`<${Line} key=${line.id} line=${line} />`)}</tbody>
      </table>`}
    </section>`
}

function Checklist({ agent }) {
  const [kept, setKept] = useState(null)
  const [text, setText] = useState('')
  const [trouble, setTrouble] = useState('')
  useEffect(() => {
    let wanted = true
    gateway
      .call('heartbeat.checklist.get', { agentId: agent })
      .then(({ content }) => wanted && (setKept(content), setText(content)))
      .catch((refusal) => wanted && setTrouble(reasonOf(refusal)))
    return () => (wanted = false)
  }, [agent])
  const onSubmit = async (event) => {
    event.preventDefault()
    try {
      await gateway.call('heartbeat.checklist.set', { agentId: agent, content: text })
      setKept(text)
      setTrouble('')
      say(t('beats.did.checklist'))
    } catch (refusal) {
      setTrouble(reasonOf(refusal))
    }
  }
  return html`
    <form class="checklist" onSubmit=${onSubmit}>
      <label class="field">${t('beats.checklist')}
        <textarea class="mono" rows="6" spellcheck=${false} readonly=${!may('admin')} disabled=${kept === null} value=${text} onInput=${(event) => setText(event.target.value)} /></label>
      ${trouble && html`<p class="form-error" role="alert">${trouble}</p>`}
      ${may('admin') && html`<button type="submit" disabled=${kept === null || text === kept}>${t('beats.checklist.save')}</button>`}
    </form>`
}

function Line({ line }) {
  const { ranAt, status, skipReason, durationMs, inputTokens, outputTokens, error, summary } = line
  const why = REASONS.includes(skipReason) ? t(`beats.why.${skipReason}`) : skipReason
  const says = error ?? summary ?? why
  return html`
    <tr><td><${Ago} at=${ranAt} /></td>
      <td><span class="status" data-status=${status}>${t(`beats.status.${status}`)}</span></td>
      <td class="number">${durationMs == null ? '' : duration(durationMs)}</td>
      <td class="number">${compact(inputTokens + outputTokens)}</td>
      <td class="says" title=${says}>${says}</td></tr>`
}
