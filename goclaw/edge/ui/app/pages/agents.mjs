// Everybody one may talk to, and one of them (dashboard.md §6.1, pages 4 and 5).
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { CreateForm } from '../agents/create.mjs'
import { OneAgent } from '../agents/one.mjs'
import '../agents/summoning.mjs'
import { Face, Status } from '../agents/words.mjs'
import { compact } from '../core/format.mjs'
import { gateway, get, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { go, href, refine, route } from '../core/router.mjs'
import { Empty, Icon, IconButton, Skeleton, Trouble } from '../ui/parts.mjs'

const STATUSES = ['active', 'inactive', 'summoning', 'summon_failed']
const COLUMNS = ['name', 'status', 'type', 'answers', 'window', 'active', 'owner']

export default function Agents() {
  const { id } = route.value
  const turn = useSignal(0)
  const live = gateway.state.value === 'live'
  useEffect(() => {
    const again = () => turn.value++
    const ends = [gateway.on('agent.updated', again), gateway.on('agent.summoning', again)]
    return () => ends.forEach((end) => end())
  }, [])
  return id ? html`<${OneAgent} key=${id} id=${id} turn=${turn.value} live=${live} />` : html`<${List} turn=${turn} live=${live} />`
}

function List({ turn, live }) {
  const { q = '', status = '', type = '' } = route.value.query
  const answer = useSignal(null)
  const error = useSignal(null)
  const creating = useSignal(false)
  useEffect(() => {
    if (!live) return undefined
    const giveUp = new AbortController()
    get('/v1/agents', {}, giveUp.signal).then(
      (found) => {
        answer.value = found.agents
        error.value = null
      },
      (refusal) => !giveUp.signal.aborted && (error.value = refusal),
    )
    return () => giveUp.abort()
  }, [live, turn.value])
  const fits = (one) => `${one.agent_key} ${one.display_name}`.toLowerCase().includes(q.toLowerCase()) && (!status || one.status === status) && (!type || one.agent_type === type)
  const shown = (answer.value ?? []).filter(fits)
  const choice = (name, value, options) => html`<label><span class="unseen">${t(`agents.fact.${name}`)}</span><select onChange=${(event) => refine({ [name]: event.target.value })}>
    <option value="" selected=${!value}>${t(`agents.any.${name}`)}</option>
    ${options.map((one) => html`<option key=${one} value=${one} selected=${one === value}>${t(`agents.${name}.${one}`)}</option>`)}</select></label>`
  return html`
    <div class="page">
      <header class="page-bar">
        <h1>${t('page.agents')}</h1>
        <label class="search"><${Icon} name="search" /><span class="unseen">${t('search')}</span>
          <input type="search" placeholder=${t('search')} value=${q} onInput=${(event) => refine({ q: event.target.value })} /></label>
        ${choice('status', status, STATUSES)}${choice('type', type, ['open', 'predefined'])}
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${() => turn.value++} />
        ${may('admin') && html`<button type="button" class="primary" onClick=${() => (creating.value = true)}><${Icon} name="plus" />${t('agents.new')}</button>`}
      </header>
      ${error.value && html`<${Trouble} error=${error.value} retry=${() => turn.value++} />`}
      ${!answer.value && !error.value && html`<${Skeleton} />`}
      ${answer.value?.length === 0 && html`<${Empty} title=${t('chat.noagents')} hint=${t('chat.noagents.hint')} />`}
      ${answer.value?.length > 0 && shown.length === 0 && html`<${Empty} title=${t('sessions.nomatch')}><button type="button" onClick=${() => refine({ q: '', status: '', type: '' })}>${t('filter.clear')}</button><//>`}
      ${shown.length > 0 && html`<table class="table agents-list">
        <thead><tr>${COLUMNS.map((column) => html`<th key=${column} scope="col" class=${['window', 'active'].includes(column) ? 'number' : undefined}>${t(`agents.fact.${column}`)}</th>`)}</tr></thead>
        <tbody>${shown.map((one) => html`<${Row} key=${one.id} one=${one} />`)}</tbody></table>`}
      ${creating.value && html`<${CreateForm} onClose=${() => (creating.value = false)} onDone=${(made) => {
        creating.value = false
        go('agents', {}, made.agent_key)
      }} />`}
    </div>`
}

const Row = ({ one }) => html`
  <tr><td><${Face} one=${one} /> <a href=${href('agents', {}, one.agent_key)}>${one.display_name}</a>${one.display_name !== one.agent_key && html` <span class="muted">${one.agent_key}</span>`}
      ${one.is_default && html` <span class="role">${t('agents.default')}</span>`}</td>
    <td><${Status} status=${one.status} /></td><td>${t(`agents.type.${one.agent_type}`)}</td><td>${one.provider} · ${one.model}</td>
    <td class="number">${compact(one.context_window)}</td><td class="number">${number(one.active_runs)}</td><td>${one.owner_id}</td></tr>`
