// Everybody one may talk to, and one of them (dashboard.md §6.1, pages 4 and 5).
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { CreateForm } from '../agents/create.mjs'
import { OneAgent } from '../agents/one.mjs'
import '../agents/summoning.mjs'
import { Face, Status } from '../agents/words.mjs'
import { amount } from '../budgets/amount.mjs'
import { compact } from '../core/format.mjs'
import { gateway, get, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { go, href, refine, route } from '../core/router.mjs'
import { found, ListPage, Table, useList } from '../ui/list.mjs'

const STATUSES = ['active', 'inactive', 'summoning', 'summon_failed']
const COLUMNS = ['name', 'status', 'type', 'answers', 'window', 'active', 'cost', 'owner']
const EVENTS = ['agent.updated', 'agent.summoning']
const MONTH = 30 * 86_400_000 // ms

export default function Agents() {
  const { id } = route.value
  return id ? html`<${One} key=${id} id=${id} />` : html`<${List} />`
}

function One({ id }) {
  const turn = useSignal(0)
  useEffect(() => {
    const ends = EVENTS.map((event) => gateway.on(event, () => turn.value++))
    return () => ends.forEach((end) => end())
  }, [])
  return html`<${OneAgent} id=${id} turn=${turn.value} live=${gateway.state.value === 'live'} />`
}

// With what each of them cost in the last month.
async function read() {
  const since = new Date(Date.now() - MONTH).toISOString()
  const [{ agents }, { rows }] = await Promise.all([get('/v1/agents'), get('/v1/usage/breakdown', { group_by: 'agent', from: since })])
  const spent = Object.fromEntries(rows.map((row) => [row.key, row.total_cost]))
  return agents.map((one) => ({ ...one, cost: spent[one.agent_key] ?? 0 }))
}

function List() {
  const { status = '', type = '', mine = '' } = route.value.query
  const list = useList(read, EVENTS)
  const creating = useSignal(false)
  const me = gateway.hello.value?.user_id
  const fits = (one) => (!status || one.status === status) && (!type || one.agent_type === type) && (!mine || one.owner_id === me)
  const shown = found(list.rows, (one) => `${one.agent_key} ${one.display_name}`).filter(fits)
  const choice = (name, value, options) => html`<label><span class="unseen">${t(`agents.fact.${name}`)}</span><select onChange=${(event) => refine({ [name]: event.target.value })}>
    <option value="" selected=${!value}>${t(`agents.any.${name}`)}</option>
    ${options.map((one) => html`<option key=${one} value=${one} selected=${one === value}>${t(`agents.${name}.${one}`)}</option>`)}</select></label>`
  const bar = html`${choice('status', status, STATUSES)}${choice('type', type, ['open', 'predefined'])}
    <label class="check"><input type="checkbox" checked=${mine !== ''} onChange=${(event) => refine({ mine: event.target.checked && '1' })} />${t('agents.mine')}</label>`
  return html`
    <${ListPage} name="agents" list=${list} shown=${shown.length} search bar=${bar} narrow=${{ status: '', type: '', mine: '' }}
      none=${[t('chat.noagents'), t('chat.noagents.hint')]} make=${may('admin') && [t('agents.new'), () => (creating.value = true)]}>
      ${shown.length > 0 && html`<${Table} kind="agents-list" words=${(name) => t(`agents.fact.${name}`)} columns=${COLUMNS} numbers=${['window', 'active', 'cost']} acts=${false}>
        ${shown.map((one) => html`<${Row} key=${one.id} one=${one} />`)}<//>`}
      ${creating.value && html`<${CreateForm} onClose=${() => (creating.value = false)} onDone=${(made) => {
        creating.value = false
        go('agents', {}, made.agent_key)
      }} />`}
    <//>`
}

const Row = ({ one }) => html`
  <tr><td><${Face} one=${one} /> <a href=${href('agents', {}, one.agent_key)}>${one.display_name}</a>${one.display_name !== one.agent_key && html` <span class="muted">${one.agent_key}</span>`}
      ${one.is_default && html` <span class="role">${t('agents.default')}</span>`}</td>
    <td><${Status} status=${one.status} /></td><td>${t(`agents.type.${one.agent_type}`)}</td><td>${one.provider} · ${one.model}</td>
    <td class="number">${compact(one.context_window)}</td><td class="number">${number(one.active_runs)}</td><td class="number">${amount(one.cost, 'usd')}</td><td>${one.owner_id}</td></tr>`
