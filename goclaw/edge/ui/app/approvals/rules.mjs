// What agents may do without being asked about again, to look through and to take back.
import { useEffect, useState } from 'preact/hooks'
import { gateway, get, request } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { confirm } from '../ui/confirm.mjs'
import { Ago, Empty, Skeleton, Trouble } from '../ui/parts.mjs'

const COLUMNS = ['pattern', 'agent', 'by', 'when', 'kept']

export function Rules({ live }) {
  const [rules, setRules] = useState(null)
  const [error, setError] = useState(null)
  const [names, setNames] = useState({}) // of agents, by id
  const read = () => get('/v1/approvals/rules').then((answer) => (setRules(answer.rules), setError(null)), setError)
  useEffect(() => {
    if (!live) return
    read()
    gateway.call('agents.list', {}).then(({ agents }) => setNames(Object.fromEntries(agents.map(({ agentId, name }) => [agentId, name]))), () => null)
  }, [live])
  const drop = async (rule) => {
    if (!(await confirm(t('approvals.rule.ask'), rule.pattern, t('delete')))) return
    await request('DELETE', `/v1/approvals/rules/${encodeURIComponent(rule.id)}`).catch(setError)
    await read()
  }
  if (error) return html`<${Trouble} error=${error} retry=${read} />`
  if (!rules) return html`<${Skeleton} />`
  if (rules.length === 0) return html`<${Empty} title=${t('approvals.rules.none')} hint=${t('approvals.rules.none.hint')} />`
  return html`<table class="table rules">
    <thead><tr>${COLUMNS.map((column) => html`<th key=${column} scope="col">${t(`approvals.col.${column}`)}</th>`)}<th scope="col"><span class="unseen">${t('cron.actions')}</span></th></tr></thead>
    <tbody>${rules.map((rule) => html`<tr key=${rule.id}>
      <td title=${rule.pattern}><code>${rule.match_kind === 'basename' ? rule.pattern : t('approvals.exact', { id: rule.pattern.slice(0, 8) })}</code></td>
      <td>${names[rule.agent_id] ?? rule.agent_id.slice(0, 8)}</td><td>${rule.created_by}</td><td><${Ago} at=${rule.created_at} /></td>
      <td>${t(rule.kept ? 'approvals.kept' : 'approvals.unkept')}</td>
      <td class="acts"><button type="button" class="quiet" onClick=${() => drop(rule)}>${t('delete')}</button></td></tr>`)}</tbody></table>`
}
