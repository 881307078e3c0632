// The children of one actor: all of them when few, else by search and page (dashboard.md §7.1).
import { useEffect, useState } from 'preact/hooks'
import { get } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { href, route } from '../core/router.mjs'
import { Icon, Trouble } from '../ui/parts.mjs'
import { Glyph, Name } from './states.mjs'
import { crowded } from './tree.mjs'

const PAGE = 50
const TYPING = 250 // ms

export function Children({ node, tree }) {
  const [prefix, setPrefix] = useState('')
  const [offset, setOffset] = useState(0)
  const [found, setFound] = useState(null) // {actors, total}
  const [error, setError] = useState(null)
  const many = crowded(node)
  const base = node.path === '/' ? '/' : `${node.path}/`
  useEffect(() => {
    if (!many) return undefined
    const gone = new AbortController()
    const timer = setTimeout(async () => {
      try {
        setFound(await get('/v1/actors', { path: node.path, text: prefix ? base + prefix : undefined, format: 'flat', limit: PAGE, offset }, gone.signal))
        setError(null)
      } catch (refused) {
        if (gone.signal.aborted) return
        if (refused.code === 'NOT_FOUND') setFound({ actors: [], total: 0 })
        else setError(refused)
      }
    }, found ? TYPING : 0)
    return () => {
      gone.abort()
      clearTimeout(timer)
    }
  }, [node.path, many, prefix, offset])
  const listed = many ? (found?.actors ?? []).filter((one) => one.path !== node.path) : (node.children ?? []).map((path) => tree.known.get(path)).filter(Boolean)
  const total = many ? (found?.total ?? 0) : listed.length
  const onInput = (event) => {
    setOffset(0)
    setPrefix(event.target.value)
  }
  return html`
    ${many && html`<label class="search"><${Icon} name="search" /><span class="unseen">${t('actors.children.search')}</span>
      <input type="search" placeholder=${t('actors.children.search')} value=${prefix} onInput=${onInput} /></label>`}
    ${error && html`<${Trouble} error=${error} />`}
    ${listed.length === 0 && (!many || found) && html`<p class="muted">${t(prefix ? 'actors.nomatch' : 'actors.children.none')}</p>`}
    <ul class="children">${listed.slice(0, 200).map((child) => html`
      <li key=${child.path}><a href=${href('actors', { ...route.value.query, sel: child.path, tab: 'overview' })} title=${child.path}><${Glyph} node=${child} now=${0} />
        <${Name} node=${child} /></a><span class="muted">${t(`actors.state.${child.state}`)}</span></li>`)}</ul>
    ${many && total > PAGE && html`<footer class="pager"><span>${t('pager.range', { from: offset + 1, to: Math.min(total, offset + PAGE), total: number(total) })}</span>
      <button type="button" disabled=${offset === 0} onClick=${() => setOffset(offset - PAGE)}>${t('pager.previous')}</button>
      <button type="button" disabled=${offset + PAGE >= total} onClick=${() => setOffset(offset + PAGE)}>${t('pager.next')}</button></footer>`}`
}
