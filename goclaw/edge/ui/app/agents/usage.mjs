// What an agent took in a period against the one before, over time and by model; and what its purses have left.
import { useEffect, useState } from 'preact/hooks'
import { amount } from '../budgets/amount.mjs'
import { compact, duration, fullTime } from '../core/format.mjs'
import { gateway, get } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { href, refine, route } from '../core/router.mjs'
import { Bars } from '../ui/chart.mjs'
import { Table } from '../ui/list.mjs'
import { Empty, Skeleton, Trouble } from '../ui/parts.mjs'

const DAY = 86_400_000 // ms
const PERIODS = { '24h': [DAY, 'hour'], '7d': [7 * DAY, 'day'], '30d': [30 * DAY, 'day'] }
const COLUMNS = ['model', 'requests', 'input', 'output', 'cost']

const tokens = (row) => row.input_tokens + row.output_tokens
const cost = (row) => (row.unpriced_calls > 0 && !row.total_cost && !row.cost ? '—' : amount(row.total_cost ?? row.cost, 'usd'))

export function Usage({ one, live }) {
  const { period = '7d' } = route.value.query
  const [seen, setSeen] = useState(null)
  const [error, setError] = useState(null)
  const [length, step] = PERIODS[period] ?? PERIODS['7d']
  const read = async () => {
    const span = { agent_id: one.agent_key, from: new Date(Date.now() - length).toISOString() }
    const [summary, series, models, purses] = await Promise.all([
      get('/v1/usage/summary', { agent_id: one.agent_key, period }),
      get('/v1/usage/timeseries', { ...span, group_by: step }),
      get('/v1/usage/breakdown', { ...span, group_by: 'model' }),
      gateway.call('budgets.list', { scope: 'agent', key: one.agent_key }),
    ])
    return { summary, points: series.points, models: models.rows.filter((row) => row.llm_call_count > 0), purses: purses.purses }
  }
  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    read().then((found) => wanted && (setSeen(found), setError(null)), (refusal) => wanted && setError(refusal))
    return () => (wanted = false)
  }, [one.id, period, live])
  return html`
    <div class="chips" role="group" aria-label=${t('agents.usage.period')}>
      ${Object.keys(PERIODS).map((name) => html`<button type="button" key=${name} class="state" aria-pressed=${String(name === period)} onClick=${() => refine({ period: name })}>${t(`agents.period.${name}`)}</button>`)}</div>
    ${error ? html`<${Trouble} error=${error} />` : seen ? html`<${Seen} ...${seen} />` : html`<${Skeleton} />`}`
}

function Seen({ summary: { current, previous }, points, models, purses }) {
  if (current.llm_calls + previous.llm_calls + current.requests === 0 && purses.length === 0) return html`<${Empty} title=${t('agents.usage.none')} hint=${t('agents.usage.none.hint')} />`
  const cards = [
    ['requests', number(current.requests), number(previous.requests)],
    ['tokens', compact(tokens(current)), compact(tokens(previous))],
    ['cost', cost(current), cost(previous)],
    ['calls', number(current.tool_calls), number(previous.tool_calls)],
    ['errors', number(current.errors), number(previous.errors)],
    ['time', duration(current.avg_duration_ms), duration(previous.avg_duration_ms)],
  ]
  const sums = points.map(tokens)
  const all = sums.reduce((a, b) => a + b, 0)
  return html`
    <dl class="agent-facts">${cards.map(([name, now, before]) => html`<div key=${name}><dt>${t(`agents.usage.${name}`)}</dt><dd><b>${now}</b> <small class="muted">${t('agents.usage.before', { before })}</small></dd></div>`)}</dl>
    <figure class="use"><${Bars} values=${sums} label=${t('agents.usage.chart', { tokens: compact(all) })} texts=${points.map((point, i) => `${fullTime(point.bucket_time)}: ${number(sums[i])}`)} />
      <figcaption class="muted">${t('agents.usage.chart', { tokens: compact(all) })}</figcaption></figure>
    ${models.length > 0 && html`<${Table} kind="use-models" words=${(name) => t(`agents.usage.${name}`)} columns=${COLUMNS} numbers=${COLUMNS.slice(1)} acts=${false}>
      ${models.map((row) => html`<tr key=${row.key}><td>${row.key}</td><td class="number">${number(row.llm_call_count)}</td><td class="number">${compact(row.input_tokens)}</td>
        <td class="number">${compact(row.output_tokens)}</td><td class="number">${cost(row)}</td></tr>`)}<//>`}
    ${purses.map(({ unit, window, limit, granted, spent }) => html`<p key=${unit + window}>${t(`budgets.window.${window}`)}: ${limit == null ? amount(spent, unit) : t('agents.usage.purse', { spent: amount(spent, unit), limit: amount(limit + granted, unit) })}
      ${' '}<a href=${href('budgets')}>${t('page.budgets')}</a></p>`)}`
}
