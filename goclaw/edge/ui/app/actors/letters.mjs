// Messages that reached nobody: diagnostics, never a queue to send again (dashboard.md §7.2, supervision.md §16).
import { useEffect, useState } from 'preact/hooks'
import { get } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { href, refine, route } from '../core/router.mjs'
import { Ago, Empty, Skeleton, Trouble } from '../ui/parts.mjs'

const PAGE = 50
const EVERY = 5000 // ms

export function Letters() {
  const { reason = '', from = '0' } = route.value.query
  const offset = Math.max(0, Number.parseInt(from, 10) || 0)
  const [found, setFound] = useState(null)
  const [error, setError] = useState(null)
  const [turn, again] = useState(0)
  useEffect(() => {
    const gone = new AbortController()
    const read = async () => {
      if (document.hidden) return
      try {
        setFound(await get('/v1/actors/deadletters', { reason, limit: PAGE, offset }, gone.signal))
        setError(null)
      } catch (refused) {
        if (!gone.signal.aborted) setError(refused)
      }
    }
    read()
    const timer = setInterval(read, EVERY)
    return () => {
      gone.abort()
      clearInterval(timer)
    }
  }, [reason, offset, turn])
  if (error) return html`<${Trouble} error=${error} retry=${() => again(turn + 1)} />`
  if (!found) return html`<${Skeleton} />`
  const { deadletters, total = deadletters.length } = found
  return html`
    <div class="view-bar chips" role="group" aria-label=${t('actors.letters.reason')}>
      ${Object.entries(byReason(found.counters)).sort((a, b) => b[1] - a[1]).map(([name, n]) => html`
        <button type="button" key=${name} class="state" aria-pressed=${String(name === reason)} onClick=${() => refine({ reason: name === reason ? '' : name, from: '' })}><b>${number(n)}</b> ${name}</button>`)}
    </div>
    <div class="view-scroll" tabindex="0">
      ${deadletters.length === 0 ? html`<${Empty} title=${t(reason ? 'actors.letters.nomatch' : 'actors.letters.none')} hint=${t('actors.letters.hint')} />` : html`
        <table class="table letters">
          <thead><tr>${'to reason from type age trace'.split(' ').map((name) => html`<th key=${name} scope="col">${t(`actors.letters.${name}`)}</th>`)}</tr></thead>
          <tbody>${deadletters.map((letter) => html`<tr key=${letter.seq}>
            <td class="mono"><a href=${href('actors', { ...route.value.query, sel: letter.to, tab: 'overview' })} title=${letter.to} class="tail"><bdi>${letter.to}</bdi></a></td><td>${letter.reason}</td>
            <td class="mono" title=${letter.from}>${letter.from}</td><td class="mono">${letter.type}</td><td><${Ago} at=${letter.at} /></td><td class="mono" title=${letter.trace_id}>${letter.trace_id?.slice(0, 8)}</td></tr>`)}</tbody></table>`}
    </div>
    ${(offset > 0 || total > offset + PAGE) && html`<footer class="pager"><span>${t('pager.range', { from: offset + 1, to: offset + deadletters.length, total })}</span>
      <button type="button" disabled=${offset === 0} onClick=${() => refine({ from: String(Math.max(0, offset - PAGE)) })}>${t('pager.previous')}</button>
      <button type="button" disabled=${offset + PAGE >= total} onClick=${() => refine({ from: String(offset + PAGE) })}>${t('pager.next')}</button></footer>`}`
}

// The gateway counts per reason and message type: as a list of {reason, type, count} or nested by name.
function byReason(counters = {}) {
  const sum = (value) => (typeof value === 'number' ? value : Object.values(value).reduce((a, b) => a + sum(b), 0))
  if (!Array.isArray(counters)) return Object.fromEntries(Object.entries(counters).map(([name, value]) => [name, sum(value)]))
  const found = {}
  for (const { reason, count } of counters) found[reason] = (found[reason] ?? 0) + count
  return found
}
