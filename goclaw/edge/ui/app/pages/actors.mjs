// The live actor tree: filters, totals, the grid and the details of one actor (dashboard.md §7).
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { Details } from '../actors/details.mjs'
import { follow } from '../actors/feed.mjs'
import { Grid } from '../actors/grid.mjs'
import { depthOf, rows, troubled } from '../actors/tree.mjs'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { refine, route } from '../core/router.mjs'
import { Empty, Icon, Skeleton, Trouble } from '../ui/parts.mjs'

export default function Actors() {
  const { q = '', problems, sel } = route.value.query
  const opened = useSignal(new Map()) // path → the user's choice
  const answer = useSignal(null) // {known, totals, skew}
  const error = useSignal(null)
  const details = useSignal(false)
  const filter = useRef()
  const sight = useRef(null)
  const live = gateway.state.value === 'live'
  const text = q.toLowerCase()
  const wanted = (text || problems) && ((node) =>
    (!problems || troubled(node)) && (!text || `${node.path} ${node.class ?? ''}`.toLowerCase().includes(text)))
  const known = answer.value?.known ?? new Map()
  const shown = rows(known, opened.value, wanted)
  sight.current = { depth: wanted ? 16 : depthOf(shown), rows: shown.length }

  const feed = useRef(null)
  const readSoon = () => requestAnimationFrame(() => feed.current?.read()) // when the new depth is known
  useEffect(() => {
    if (!live) return undefined
    const onAnswer = (fresh) => {
      answer.value = fresh
      error.value = null
    }
    feed.current = follow(() => sight.current, onAnswer, (refusal) => (error.value = refusal))
    return feed.current.stop
  }, [live])
  useEffect(() => {
    if (wanted) readSoon()
  }, [q, problems])

  const open = (paths, choice) => {
    opened.value = new Map([...opened.value, ...paths.map((path) => [path, choice])])
    readSoon()
  }
  const onToggle = ({ node, open: was }) => open([node.path], !was)
  const onSiblings = ({ node }) => {
    const parent = node.path.slice(0, node.path.lastIndexOf('/')) || '/'
    open(known.get(parent)?.children ?? [], true)
  }
  const onOpen = (path) => {
    refine({ sel: path })
    details.value = true
  }
  const onKey = (key) => {
    const keys = {
      '/': () => filter.current.focus(),
      '.': () => refine({ problems: problems ? '' : '1' }),
      Escape: () => (details.value = false),
    }
    keys[key]?.()
    return key in keys
  }
  const selected = details.value && known.get(sel)
  return html`
    <div class="page actors" data-details=${!!selected}>
      <header class="page-bar">
        <h1>${t('page.actors')}</h1>
        <label class="search"><${Icon} name="filter" /><span class="unseen">${t('actors.filter')}</span>
          <input type="search" ref=${filter} placeholder=${t('actors.filter')} value=${q} onInput=${(event) => refine({ q: event.target.value })} /></label>
        <label class="check"><input type="checkbox" checked=${!!problems} onChange=${(event) => refine({ problems: event.target.checked ? '1' : '' })} /> ${t('actors.problems')}</label>
      </header>
      ${answer.value && html`<${Totals} totals=${answer.value.totals} />`}
      ${error.value && html`<${Trouble} error=${error.value} retry=${readSoon} />`}
      ${!answer.value && !error.value && html`<${Skeleton} rows=${12} />`}
      ${answer.value && shown.length === 0 && html`
        <${Empty} title=${problems ? t('actors.noproblems') : t('actors.nomatch')}>
          <button type="button" onClick=${() => refine({ q: '', problems: '' })}>${t('filter.clear')}</button><//>`}
      ${shown.length > 0 && html`
        <div class="actors-body">
          <${Grid} rows=${shown} now=${Date.now() + (answer.value?.skew ?? 0)} active=${sel} onActive=${(path) => refine({ sel: path })}
            onToggle=${onToggle} onSiblings=${onSiblings} onOpen=${onOpen} onKey=${onKey} />
          ${selected && html`<${Details} node=${selected} onClose=${() => (details.value = false)} />`}
        </div>`}
    </div>`
}

const ORDER = ['running', 'starting', 'backoff', 'quarantined', 'suspended', 'stopping', 'stopped']

function Totals({ totals }) {
  const figures = [['restarts_1h', totals.restarts_1h], ['mailbox_depth', totals.mailbox_depth], ['dropped', totals.dropped]]
  return html`
    <dl class="totals">
      <div><dt>${t('actors.total')}</dt><dd>${number(totals.actors)}</dd></div>
      ${ORDER.filter((state) => totals.by_state[state]).map((state) => html`
        <div key=${state}><dt><i class="glyph" data-state=${state}></i>${t(`actors.state.${state}`)}</dt><dd>${number(totals.by_state[state])}</dd></div>`)}
      ${figures.map(([name, value]) => html`<div key=${name} class="figure"><dt>${t(`actors.${name}`)}</dt><dd>${number(value ?? 0)}</dd></div>`)}
    </dl>`
}
