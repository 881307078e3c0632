// Tools made of commands: list, editor, try-out (dashboard.md §6.5, page 27).
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { go, href, refine, route } from '../core/router.mjs'
import { CustomForm } from '../tools/form.mjs'
import { Status } from '../tools/status.mjs'
import { TryOut } from '../tools/try.mjs'
import { confirm } from '../ui/confirm.mjs'
import { Empty, Icon, IconButton, reasonOf, say, Skeleton, Trouble } from '../ui/parts.mjs'

const COLUMNS = ['name', 'about', 'agent', 'timeout', 'state']

export default function CustomTools() {
  const { id, query: { q = '' } } = route.value
  const answer = useSignal(null)
  const agents = useSignal([])
  const error = useSignal(null)
  const form = useSignal(null) // {tool}
  const turn = useSignal(0)
  const live = gateway.state.value === 'live'
  const again = () => turn.value++
  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    Promise.all([gateway.call('tools.custom.list', {}), gateway.call('agents.list', {})])
      .then(([found, known]) => {
        if (!wanted) return
        answer.value = found.tools
        agents.value = known.agents
        error.value = null
      })
      .catch((refusal) => wanted && refusal.details?.reason !== 'connection_lost' && (error.value = refusal))
    return () => (wanted = false)
  }, [live, turn.value])
  useEffect(() => gateway.on('tools.updated', again), [])
  const act = async (method, params, done) => {
    try {
      await gateway.call(method, params)
      say(done)
      return true
    } catch (refusal) {
      say(reasonOf(refusal))
      error.value = refusal
      return false
    } finally {
      again()
    }
  }
  const acts = {
    edit: (tool) => (form.value = { tool }),
    toggle: (one) => act('tools.custom.update', { id: one.id, enabled: !one.enabled }, t(one.enabled ? 'tools.did.disable' : 'tools.did.enable', { name: one.name })),
    remove: async (one) => {
      if (!(await confirm(t('tools.ask.delete'), one.name, t('delete')))) return
      if (await act('tools.custom.delete', { id: one.id }, t('tools.did.delete', { name: one.name }))) go('custom-tools')
    },
  }
  const nameOf = (agent) => agents.value.find(({ agentId }) => agentId === agent)?.name ?? (agent ? agent.slice(0, 8) : t('tools.everybody'))
  const all = answer.value ?? []
  const shown = all.filter((one) => `${one.name} ${one.description}`.toLowerCase().includes(q.toLowerCase()))
  const chosen = id && all.find((one) => one.id === id)
  return html`
    <div class="page">
      <header class="page-bar">
        <h1>${t('page.custom-tools')}</h1>
        <label class="search"><${Icon} name="search" /><span class="unseen">${t('search')}</span>
          <input type="search" placeholder=${t('search')} value=${q} onInput=${(event) => refine({ q: event.target.value })} /></label>
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${again} />
        ${may('admin') && html`<button type="button" class="primary" onClick=${() => (form.value = {})}><${Icon} name="plus" />${t('tools.new')}</button>`}
      </header>
      ${error.value && html`<${Trouble} error=${error.value} retry=${again} />`}
      ${!answer.value && !error.value && html`<${Skeleton} />`}
      ${answer.value && all.length === 0 && html`<${Empty} title=${t('tools.none')} hint=${t('tools.none.hint')} />`}
      ${shown.length > 0 && html`<table class="table tools">
        <thead><tr>${COLUMNS.map((column) => html`<th key=${column} scope="col">${t(`tools.col.${column}`)}</th>`)}<th scope="col"><span class="unseen">${t('cron.actions')}</span></th></tr></thead>
        <tbody>${shown.map((one) => html`<tr key=${one.id} data-enabled=${String(one.enabled)} aria-selected=${one === chosen ? 'true' : undefined}>
          <td><a href=${href('custom-tools', {}, one.id)}>${one.name}</a></td>
          <td title=${one.description}>${one.description}</td>
          <td>${nameOf(one.agent_id)}</td>
          <td class="number">${one.timeout_seconds}</td>
          <td><${Status} one=${one} /></td>
          <td class="acts">${may('admin') && html`<button type="button" class="quiet" onClick=${() => acts.toggle(one)}>${t(one.enabled ? 'cron.act.disable' : 'cron.act.enable')}</button>`}</td>
        </tr>`)}</tbody></table>`}
      ${chosen && html`<section key=${chosen.id} class="job tool-detail" aria-label=${t('tools.detail', { name: chosen.name })}>
        <header class="page-bar"><h2>${chosen.name}</h2><${Status} one=${chosen} />
          ${may('admin') && html`<button type="button" onClick=${() => acts.edit(chosen)}>${t('cron.act.edit')}</button>
            <button type="button" onClick=${() => acts.remove(chosen)}>${t('delete')}</button>`}
          <${IconButton} icon="x" label=${t('close')} onClick=${() => go('custom-tools')} /></header>
        <p>${chosen.description}</p>
        <pre class="mono">${chosen.command}</pre>
        ${chosen.env_keys.length > 0 && html`<p class="muted">${t('tools.env.set', { names: chosen.env_keys.join(', ') })}</p>`}
        ${may('operator') && html`<${TryOut} key=${chosen.updated_at} tool=${chosen.name} parameters=${chosen.parameters} agent=${chosen.agent_id} />`}
      </section>`}
      ${form.value && html`<${CustomForm} ...${form.value} agents=${agents.value} onClose=${() => (form.value = null)} onDone=${() => {
        form.value = null
        again()
      }} />`}
    </div>`
}
