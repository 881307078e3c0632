// What one agent did and does, newest first.
import { useEffect, useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { useRunNews } from '../runs/states.mjs'
import { RunTable } from '../runs/table.mjs'
import { Empty, Skeleton, Trouble } from '../ui/parts.mjs'

const PAGE = 20 // rows

export function Runs({ one, live }) {
  const [page, setPage] = useState(null)
  const [offset, setOffset] = useState(0)
  const [error, setError] = useState(null)
  const read = () =>
    gateway.call('runs.list', { agentId: one.agent_key, limit: PAGE, offset }).then(
      (found) => (setPage(found), setError(null)),
      (refusal) => refusal.details?.reason !== 'connection_lost' && setError(refusal),
    )
  useEffect(() => {
    if (live) read()
  }, [one.id, offset, live])
  useRunNews(read, () => null)
  if (error) return html`<${Trouble} error=${error} retry=${read} />`
  if (!page) return html`<${Skeleton} />`
  const { runs, total } = page
  if (total === 0) return html`<${Empty} title=${t('agents.runs.none', { name: one.display_name })} hint=${t('runs.none.hint')} />`
  const to = offset + runs.length
  return html`
    <${RunTable} runs=${runs} />
    <nav class="pager" aria-label=${t('audit.pages')}><span>${t('pager.range', { from: offset + 1, to, total })}</span>
      <button type="button" disabled=${offset === 0} onClick=${() => setOffset(Math.max(0, offset - PAGE))}>${t('pager.previous')}</button>
      <button type="button" disabled=${to >= total} onClick=${() => setOffset(to)}>${t('pager.next')}</button></nav>`
}
