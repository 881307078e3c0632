// The live actor tree: what is running, what hurts, what crashed, and what can be done about it (dashboard.md §7).
import { useSignal } from '@preact/signals'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { dismiss, notices, probe, refusal } from '../actors/actions.mjs'
import { Crashes, log } from '../actors/crashes.mjs'
import { Details } from '../actors/details.mjs'
import { ActionDialog, BulkDialog } from '../actors/dialogs.mjs'
import { follow } from '../actors/feed.mjs'
import { Filters, NOTHING } from '../actors/filters.mjs'
import { Grid } from '../actors/grid.mjs'
import { Hot } from '../actors/hot.mjs'
import { Letters } from '../actors/letters.mjs'
import { Map as TreeMap } from '../actors/map.mjs'
import { orderOf, readsFor, rows, wantedBy } from '../actors/rows.mjs'
import { Alarms, Strip } from '../actors/strip.mjs'
import { crowded, parentOf, Tree } from '../actors/tree.mjs'
import { Vitals } from '../actors/vitals.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { href, refine, route } from '../core/router.mjs'
import { Empty, IconButton, say, Skeleton, Trouble } from '../ui/parts.mjs'

const VIEWS = ['grid', 'map', 'hot', 'crashes', 'dead']
const TICK = 1000 // ms between two looks at the clock, for ages and countdowns
const SETTLED = 250 // ms of rest before the address follows the active row or the filter is sent
const QUIET = 5000 // ms between two spoken pieces of news (dashboard.md §13)
const narrowly = matchMedia('(max-width: 760px)')

export default function Actors() {
  const { path: root = '/', view = 'grid', sort = '', tab, ...query } = route.value.query
  const tree = useMemo(() => new Tree(), [])
  const vitals = useMemo(() => new Vitals(), [])
  const opened = useSignal(new Map(above(query.sel).map((path) => [path, true]))) // path → the user's choice
  const marked = useSignal(new Set())
  const active = useSignal(query.sel ?? root)
  const error = useSignal(null)
  const dialog = useSignal(null) // {action, node} or {bulk: nodes}
  const narrow = useSignal(narrowly.matches)
  const tick = useSignal(0)
  const field = useRef()
  const feed = useRef(null)
  const sight = useRef({ rows: [] })
  const live = gateway.state.value === 'live'
  const treelike = view === 'grid' || view === 'map'
  const wanted = wantedBy(query)
  const known = tree.version.value > 0 && tree.known.size > 0
  tick.value // ages follow it
  const now = tree.now()
  const shown = known && treelike ? rows(tree, { root, opened: opened.value, wanted, order: orderOf(sort) }) : []
  const drawer = tab && query.sel
  const crowds = () => [...tree.known.values()].filter(crowded)

  const current = useRef()
  current.current = () => {
    const inSight = view === 'grid' ? sight.current.rows : view === 'map' ? shown : []
    const reads = view === 'hot' ? [{ path: '/', depth: 16 }] : inSight.length ? readsFor(inSight, root) : [{ path: root, depth: 1 }]
    if (drawer) reads.push({ path: query.sel, depth: 1 })
    return { root, reads: reads.filter(({ path }) => tree.known.has(path)), rows: shown.length, deep: !!wanted, crowds: view === 'hot' ? crowds().map(({ path }) => path) : shown.filter(({ note }) => note === 'crowd').map(({ node }) => node.path) }
  }
  useEffect(() => {
    if (!live) return undefined
    let spoken = 0
    const onEvents = (events) => {
      log(events, tree.now())
      const named = (name) => events.filter(([one]) => one === name)
      vitals.restarted(tree.now(), named('actor.restarted').length)
      const locked = named('actor.quarantined')
      if (locked.length && Date.now() - spoken > QUIET) {
        spoken = Date.now()
        say(t('actors.said.quarantined', { path: locked[0][1].path }))
      }
    }
    feed.current = follow(tree, () => current.current(), { read: () => (error.value = null), trouble: (refused) => (error.value = refused), events: onEvents })
    const away = vitals.watch()
    return () => {
      feed.current.stop()
      away()
    }
  }, [live, root])
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && tick.value++, TICK)
    const onWidth = () => (narrow.value = narrowly.matches)
    narrowly.addEventListener('change', onWidth)
    return () => {
      clearInterval(timer)
      narrowly.removeEventListener('change', onWidth)
    }
  }, [])
  // A filter must see everything: all levels once, and of each crowd those in trouble or named.
  useEffect(() => {
    if (!wanted || !live || !treelike) return undefined
    const timer = setTimeout(async () => {
      await feed.current.load(root, 16)
      const filter = { state: query.state, class: query.class }
      for (const { path } of crowds()) feed.current.crowd(path, filter, query.q).catch(() => null)
    }, SETTLED)
    return () => clearTimeout(timer)
  }, [live, root, treelike, known, query.q, query.state, query.class, query.kind, query.problems])
  // So do the hot lists.
  useEffect(() => {
    if (view !== 'hot' || !live || !known) return
    for (const { path } of crowds()) feed.current.crowd(path).catch(() => null)
  }, [live, view, known])
  useEffect(() => {
    if (active.value.replace('#', '') === (query.sel ?? root)) return undefined
    const timer = setTimeout(() => refine({ sel: active.value.replace('#', '') }), SETTLED)
    return () => clearTimeout(timer)
  }, [active.value])
  useEffect(() => {
    if (query.sel && tab && query.sel !== active.value.replace('#', '')) active.value = query.sel
  }, [query.sel])

  // What is open but was never read, because the address named something deep.
  const hollow = shown.find(({ note }) => note === 'loading')?.node.path
  useEffect(() => {
    if (hollow && live) unfold(hollow)
  }, [hollow, live])

  const choose = (paths, choice) => {
    opened.value = new Map([...opened.value, ...paths.map((path) => [path, choice])])
    if (choice) for (const path of paths) unfold(path)
  }
  const unfold = async (path) => {
    const node = tree.known.get(path)
    if (node.children_total > 0 && !node.children) await feed.current?.load(path, 2)
    if (crowded(node)) feed.current?.crowd(path).catch(() => null)
  }
  const onAct = (action, node) => {
    const refused = refusal(node, action)
    if (refused) say(t(refused))
    else if (action === 'probe') probe(node.path)
    else dialog.value = { action, node }
  }
  const killer = (path) => () => (dialog.value = { action: 'kill', node: tree.known.get(path) })
  const show = (row, name = row.note ? 'children' : (tab ?? 'overview')) => {
    active.value = row.key
    refine({ sel: row.node.path, tab: name })
  }
  const close = () => {
    refine({ tab: '' })
    document.querySelector('.grid')?.focus()
  }
  const on = {
    active: (key) => (active.value = key),
    touch: (row) => (drawer || narrow.value ? show(row) : (active.value = row.key)),
    open: (row) => show(row),
    toggle: ({ node, open }) => choose([node.path], !open),
    siblings: ({ node }) => choose((tree.known.get(parentOf(node.path))?.children ?? []).filter((path) => tree.known.get(path)?.children_total > 0), true),
    mark({ key, note }) {
      const next = new Set(marked.value)
      if (!next.delete(key) && !note) next.add(key)
      marked.value = next
    },
    sort: (column) => refine({ sort: sort === `-${column}` ? '' : sort === column ? `-${column}` : column }),
    key(key, { node }) {
      const keys = {
        '/': () => field.current.focus(),
        '.': () => refine({ problems: query.problems ? '' : '1' }),
        r: () => onAct('restart', node),
        p: () => onAct('probe', node),
        c: () => refine({ view: 'crashes', of: node.path }),
        Escape: close,
      }
      keys[key]?.()
      return key in keys
    },
  }
  const nodes = [...marked.value].map((path) => tree.known.get(path)).filter(Boolean)
  const body = {
    grid: () => html`<${Grid} rows=${shown} now=${now} active=${active.value} marked=${marked.value} narrow=${narrow.value} brief=${!!drawer} sort=${sort}
      onSight=${(seen) => (sight.current.rows = seen)} on=${on} />`,
    map: () => html`<${TreeMap} rows=${shown} now=${now} active=${active.value} on=${on} />`,
    hot: () => html`<${Hot} tree=${tree} now=${now} />`,
    crashes: () => html`<div class="view"><${Crashes} /></div>`,
    dead: () => html`<div class="view"><${Letters} /></div>`,
  }
  const chosen = VIEWS.includes(view) ? view : 'grid'
  const nothing = known && treelike && shown.length === 0
  return html`
    <div class="page actors" data-details=${!!drawer} data-stale=${!live}>
      <header class="page-bar">
        <h1>${t('page.actors')}</h1>
        <nav class="views" aria-label=${t('actors.views')}>${VIEWS.map((name) => html`<a key=${name} href=${href('actors', { ...route.value.query, view: name === 'grid' ? '' : name })}
          aria-current=${name === chosen ? 'page' : undefined}>${t(`actors.view.${name}`)}</a>`)}</nav>
        <${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${() => feed.current?.read()} />
      </header>
      <${Alarms} tree=${tree} vitals=${vitals} onBulk=${may('admin') && (() => (dialog.value = { bulk: null }))} />
      <${Strip} tree=${tree} vitals=${vitals} now=${now} />
      ${root !== '/' && html`<p class="root-line"><a href=${href('actors', { ...route.value.query, path: '' })}>/</a> <span class="mono">${root}</span></p>`}
      ${treelike && html`<${Filters} tree=${tree} field=${field} grid=${view === 'grid'} narrow=${narrow.value} />`}
      ${nodes.length > 0 && html`<p class="banner"><span>${t('actors.marked', { n: nodes.length })}</span>
        ${may('admin') && html`<button type="button" class="quiet" onClick=${() => (dialog.value = { bulk: nodes })}>${t('actors.action.restart')}</button>`}
        <button type="button" class="quiet" onClick=${() => (marked.value = new Set())}>${t('actors.unmark')}</button></p>`}
      ${error.value && html`<${Trouble} error=${error.value} retry=${() => feed.current?.read()} />`}
      ${!known && !error.value && html`<${Skeleton} rows=${12} />`}
      ${nothing && html`<${Empty} title=${t(query.problems ? 'actors.noproblems' : 'actors.nomatch')}><button type="button" onClick=${() => refine(NOTHING)}>${t('filter.clear')}</button><//>`}
      ${known && html`<div class="actors-body">${!nothing && body[chosen]()}
        ${drawer && html`<${Details} key=${query.sel} path=${query.sel} tree=${tree} now=${now} tab=${tab} live=${live} onAct=${onAct} onClose=${close} />`}</div>`}
      <${Notices} />
      ${dialog.value?.action && html`<${ActionDialog} tree=${tree} ...${dialog.value} onKill=${killer(dialog.value.node.path)}
        onClose=${() => (dialog.value = null)} />`}
      ${dialog.value && 'bulk' in dialog.value && html`<${BulkDialog} tree=${tree} marked=${dialog.value.bulk} onClose=${() => (dialog.value = null)} />`}
    </div>`
}

// The paths above one, nearest first.
function above(path) {
  const found = []
  for (let at = path && parentOf(path); at; at = parentOf(at)) found.push(at)
  return found
}

const Notices = () => html`
  <ul class="notices" role="status">${notices.value.map(({ id, tone, text, retry }) => html`
    <li key=${id} data-tone=${tone}><span>${text}</span>
      ${retry && html`<button type="button" class="quiet" onClick=${() => { dismiss(id); retry.act() }}>${retry.text}</button>`}
      <${IconButton} icon="x" label=${t('close')} onClick=${() => dismiss(id)} /></li>`)}</ul>`
