// Heartbeats of all agents: how often, when next, what came of it, and everything one may do to them (dashboard.md §6.3).
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { Detail } from '../heartbeats/detail.mjs'
import { HeartbeatForm } from '../heartbeats/form.mjs'
import { duration } from '../core/format.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { refine, route } from '../core/router.mjs'
import { Ago, Empty, Icon, IconButton, reasonOf, say, Skeleton, Trouble } from '../ui/parts.mjs'

const COLUMNS = ['agent', 'interval', 'window', 'next', 'last', 'status', 'suppressed']

export default function Heartbeats() {
  const { agent: chosen, q = '' } = route.value.query
  const rows = useSignal(null) // [{id, name, heartbeat}]
  const error = useSignal(null)
  const form = useSignal(null) // the row to change
  const turn = useSignal(0)
  const live = gateway.state.value === 'live'
  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    read()
      .then((found) => {
        if (!wanted) return
        rows.value = found
        error.value = null
      })
      .catch((refusal) => wanted && refusal.details?.reason !== 'connection_lost' && (error.value = refusal))
    return () => (wanted = false)
  }, [live, turn.value])
  useEffect(() => gateway.on('heartbeat', () => turn.value++), [])
  const act = async (method, params, done) => {
    try {
      await gateway.call(method, params)
      say(done)
    } catch (refusal) {
      say(reasonOf(refusal))
      error.value = refusal
    }
    turn.value++
  }
  const acts = {
    test: ({ id, name }) => act('heartbeat.test', { agentId: id }, t('beats.did.test', { name })),
    toggle: ({ id, name, heartbeat }) =>
      act('heartbeat.toggle', { agentId: id, enabled: !heartbeat.enabled }, t(heartbeat.enabled ? 'beats.did.disable' : 'beats.did.enable', { name })),
    edit: (row) => (form.value = row),
  }
  const shown = rows.value?.filter(({ id, name }) => `${id} ${name}`.toLowerCase().includes(q.toLowerCase())) ?? []
  const row = rows.value?.find(({ id }) => id === chosen)
  return html`
    <div class="page">
      <header class="page-bar">
        <h1>${t('page.heartbeats')}</h1>
        <label class="search"><${Icon} name="search" /><span class="unseen">${t('search')}</span>
          <input type="search" placeholder=${t('search')} value=${q} onInput=${(event) => refine({ q: event.target.value })} /></label>
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${() => turn.value++} />
      </header>
      <p class="muted">${t('beats.hint')}</p>
      ${error.value && html`<${Trouble} error=${error.value} retry=${() => turn.value++} />`}
      ${!rows.value && !error.value && html`<${Skeleton} />`}
      ${rows.value && shown.length === 0 && html`<${Empty} title=${t('sessions.nomatch')}><button type="button" onClick=${() => refine({ q: '' })}>${t('filter.clear')}</button><//>`}
      ${shown.length > 0 && html`<table class="table jobs">
        <thead><tr>${COLUMNS.map((column) => html`<th key=${column} scope="col" class=${column === 'suppressed' ? 'number' : undefined}>${t(`beats.col.${column}`)}</th>`)}<th scope="col"><span class="unseen">${t('cron.actions')}</span></th></tr></thead>
        <tbody>${shown.map((one) => html`<${Row} key=${one.id} row=${one} acts=${acts} chosen=${one.id === chosen} />`)}</tbody>
      </table>`}
      ${row && html`<${Detail} row=${row} acts=${acts} turn=${turn.value} onClose=${() => refine({ agent: '' })} />`}
      ${form.value && html`<${HeartbeatForm} row=${form.value} onClose=${() => (form.value = null)} onDone=${() => {
        form.value = null
        turn.value++
      }} />`}
    </div>`
}

async function read() {
  const { agents } = await gateway.call('agents.list', {})
  return Promise.all(agents.map(async ({ id, name }) => ({ id, name, ...(await gateway.call('heartbeat.get', { agentId: id })) })))
}

function Row({ row, acts, chosen }) {
  const { id, name, heartbeat } = row
  const { enabled, intervalSec, activeHoursStart, activeHoursEnd, timezone, nextRunAt, lastRunAt, lastStatus, lastError, suppressCount } = heartbeat ?? {}
  return html`
    <tr data-enabled=${String(!!enabled)} aria-selected=${chosen ? 'true' : undefined}>
      <td><button type="button" class="quiet" onClick=${() => refine({ agent: chosen ? '' : id })}>${name}</button></td>
      <td>${heartbeat ? duration(intervalSec * 1000) : t('beats.unset')}</td>
      <td>${activeHoursStart && `${activeHoursStart}–${activeHoursEnd}`}${activeHoursStart && html` <span class="muted">${timezone ?? 'UTC'}</span>`}</td>
      <td>${nextRunAt ? html`<${Ago} at=${nextRunAt} />` : heartbeat && t('cron.disabled')}</td>
      <td>${lastRunAt && html`<${Ago} at=${lastRunAt} />`}</td>
      <td>${lastStatus && html`<${Status} status=${lastStatus} why=${lastError} />`}</td>
      <td class="number">${heartbeat && number(suppressCount)}</td>
      <td class="acts">${may('admin') && heartbeat && html`
        <button type="button" class="quiet" onClick=${() => acts.test(row)}>${t('beats.act.test')}</button>
        <button type="button" class="quiet" onClick=${() => acts.toggle(row)}>${t(enabled ? 'cron.act.disable' : 'cron.act.enable')}</button>`}
        ${may('admin') && html`<button type="button" class="quiet" onClick=${() => acts.edit(row)}>${t(heartbeat ? 'cron.act.edit' : 'beats.act.set')}</button>`}</td>
    </tr>`
}

const Status = ({ status, why }) => html`<span class="status" data-status=${status} title=${why}>${t(`beats.status.${status}`)}</span>`
