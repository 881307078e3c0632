// Decisions that were kept, and whether anybody touched them (dashboard.md §6.7, page 40).
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { refine, route } from '../core/router.mjs'
import { Ago, Empty, Icon, IconButton, reasonOf, Skeleton, Trouble } from '../ui/parts.mjs'

const PAGE = 50 // lines
const TYPING = 250 // ms
const OFTEN = 15_000 // ms between two looks
const DECISIONS = ['allow', 'deny', 'info', 'error']
const COLUMNS = ['when', 'who', 'action', 'decision', 'subject', 'reason']

export default function Audit() {
  const { action = '', decision = '', from = '0' } = route.value.query
  const offset = Math.max(0, Number.parseInt(from, 10) || 0)
  const lines = useSignal(null)
  const error = useSignal(null)
  const verdict = useSignal(null)
  const turn = useSignal(0)
  const live = gateway.state.value === 'live'
  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    const read = () =>
      gateway.call('audit.list', { ...(action && { action }), ...(decision && { decision }), limit: PAGE, offset }).then(
        (answer) => wanted && ((lines.value = answer.lines), (error.value = null)),
        (refusal) => wanted && refusal.details?.reason !== 'connection_lost' && (error.value = refusal),
      )
    const timer = setTimeout(read, lines.value ? TYPING : 0)
    return () => {
      wanted = false
      clearTimeout(timer)
    }
  }, [live, action, decision, offset, turn.value])
  useEffect(() => {
    const timer = setInterval(() => turn.value++, OFTEN)
    return () => clearInterval(timer)
  }, [])
  const verify = () => gateway.call('audit.verify', {}).then((answer) => (verdict.value = answer), (refusal) => (verdict.value = { refused: reasonOf(refusal) }))
  const filtered = action !== '' || decision !== ''
  return html`
    <div class="page audit">
      <header class="page-bar">
        <h1>${t('page.audit')}</h1>
        <label class="search"><${Icon} name="search" /><span class="unseen">${t('audit.filter')}</span>
          <input type="search" placeholder=${t('audit.filter')} value=${action} onInput=${(event) => refine({ action: event.target.value, from: '' })} /></label>
        <label><span class="unseen">${t('audit.col.decision')}</span><select onChange=${(event) => refine({ decision: event.target.value, from: '' })}>
          <option value="" selected=${!decision}>${t('audit.decision.any')}</option>
          ${DECISIONS.map((name) => html`<option key=${name} value=${name} selected=${name === decision}>${t(`audit.decision.${name}`)}</option>`)}</select></label>
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${() => turn.value++} />
        <button type="button" onClick=${verify}>${t('audit.verify')}</button>
      </header>
      ${verdict.value && html`<${Verdict} verdict=${verdict.value} />`}
      ${error.value && html`<${Trouble} error=${error.value} retry=${() => turn.value++} />`}
      ${!lines.value && !error.value && html`<${Skeleton} />`}
      ${lines.value?.length === 0 && html`<${Empty} title=${t(filtered ? 'sessions.nomatch' : 'audit.none')}>
        ${filtered && html`<button type="button" onClick=${() => refine({ action: '', decision: '', from: '' })}>${t('filter.clear')}</button>`}<//>`}
      ${lines.value?.length > 0 && html`<table class="table lines">
        <thead><tr>${COLUMNS.map((column) => html`<th key=${column} scope="col">${t(`audit.col.${column}`)}</th>`)}</tr></thead>
        <tbody>${lines.value.map((line) => html`<${Line} key=${`${line.chain} ${line.seq}`} line=${line} />`)}</tbody></table>
        <nav class="pager" aria-label=${t('audit.pages')}><span>${offset + 1}–${offset + lines.value.length}</span>
          <button type="button" disabled=${offset === 0} onClick=${() => refine({ from: Math.max(0, offset - PAGE) || '' })}>${t('audit.newer')}</button>
          <button type="button" disabled=${lines.value.length < PAGE} onClick=${() => refine({ from: offset + PAGE })}>${t('audit.older')}</button></nav>`}
    </div>`
}

const Line = ({ line }) => html`
  <tr><td><${Ago} at=${line.ts} /></td><td>${line.actor_id || line.actor_type}</td><td><code>${line.action}</code></td>
    <td><span class="status" data-status=${line.decision === 'allow' ? 'ok' : line.decision === 'info' ? 'info' : 'error'}>${t(`audit.decision.${line.decision}`)}</span></td>
    <td class="long" title=${line.subject}>${line.subject}</td><td class="long" title=${line.reason}>${line.reason}</td></tr>`

function Verdict({ verdict }) {
  const { ok, refused, lines, broken, sink } = verdict
  if (ok) return html`<p class="banner" role="status"><${Icon} name="check" />${t('audit.whole', { lines: number(lines) })}</p>`
  const why = refused ?? t('audit.broken', { chain: broken.chain, seq: broken.seq, why: broken.why, sink })
  return html`<p class="banner stopped" role="alert"><${Icon} name="octagon-x" />${why}</p>`
}
