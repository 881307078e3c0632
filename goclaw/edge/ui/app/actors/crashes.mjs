// The crash log: stored rows and, above them, what happened since; row by row or by cause (dashboard.md §7.4).
import { signal } from '@preact/signals'
import { useEffect, useState } from 'preact/hooks'
import { get } from '../core/gateway.mjs'
import { duration, fullTime } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { copyText } from '../core/ids.mjs'
import { href, refine, route } from '../core/router.mjs'
import { Bars } from '../ui/chart.mjs'
import { useWindow } from '../ui/window.mjs'
import { Ago, Empty, Icon, IconButton, Skeleton, Trouble } from '../ui/parts.mjs'

const PAGE = 100 // rows per read
const ROW = 32 // px
const ROW_NARROW = 72
const KEPT = 500 // live rows
const SPARKS = 24 // bars of a cause's history
const RECENT = 200 // crashes the histories are drawn from
export const OCCASIONS = ['crashed', 'restarted', 'quarantined', 'escalated', 'killed', 'stopped', 'started']
const LOGGED = new Set(['actor.crashed', 'actor.restarted', 'actor.quarantined', 'actor.escalated'])

// What the socket told since the page opened, newest first.
export const heard = signal([])
let lastId = 0
export function log(events, now) {
  const rows = events.filter(([name]) => LOGGED.has(name)).map(([name, event]) => rowOf(name, event, now)).reverse()
  if (rows.length) heard.value = [...rows, ...heard.value].slice(0, KEPT)
}

function rowOf(name, event, now) {
  const { error, restartsWindow: restarts_in_window, backoffMs: backoff_ms, ...rest } = event
  const cause = { error_type: error?.type, error_message: error?.message, fingerprint: error?.fingerprint }
  return { ...rest, ...cause, id: `live-${++lastId}`, event: name.slice('actor.'.length), at: event.at ?? new Date(now).toISOString(), restarts_in_window, backoff_ms }
}

const nameOf = ({ path, event, incarnation }) => `${event} ${incarnation} ${path}`

// The log of one path (`small`, in the drawer) or, with the filters of the address, of the node.
export function CrashTable({ path, small }) {
  const { of = '', event = '', cause = '' } = small ? { of: path } : route.value.query
  const [stored, setStored] = useState(null)
  const [since, setSince] = useState(null) // the newest live row when we last read
  const [more, setMore] = useState(false)
  const [error, setError] = useState(null)
  const [open, setOpen] = useState(null)
  const read = async (rows) => {
    try {
      const newest = heard.value[0]?.id
      const { crashes } = await get('/v1/actor-crashes', { path: of, event, fingerprint: cause, limit: PAGE, offset: rows.length })
      setStored([...rows, ...crashes])
      setMore(crashes.length === PAGE)
      setError(null)
      if (rows.length === 0) setSince(newest ?? null)
    } catch (refused) {
      setError(refused)
    }
  }
  useEffect(() => {
    setStored(null)
    read([])
  }, [of, event, cause])
  if (error) return html`<${Trouble} error=${error} retry=${() => read([])} />`
  if (!stored) return html`<${Skeleton} />`
  const upTo = since ? heard.value.findIndex(({ id }) => id === since) : -1
  const fits = (row) => (!of || row.path === of) && (!event || row.event === event) && (!cause || row.fingerprint === cause)
  const both = new Set(stored.slice(0, PAGE).map(nameOf)) // told and read at the same time
  const rows = [...(upTo < 0 ? heard.value : heard.value.slice(0, upTo)).filter((row) => fits(row) && !both.has(nameOf(row))), ...stored]
  if (rows.length === 0) return html`<${Empty} title=${t('actors.crashes.none')} />`
  const earlier = more && html`<p class="more"><button type="button" onClick=${() => read(stored)}>${t('actors.crashes.more')}</button></p>`
  const shown = rows.find(({ id }) => id === open)
  const flip = (id) => setOpen(open === id ? null : id)
  if (!small) return html`<${Long} rows=${rows} open=${open} onOpen=${flip} earlier=${earlier} />${shown && html`<${Beside} row=${shown} onClose=${() => setOpen(null)} />`}`
  return html`
    <ul class="crashes" data-small="true">${rows.slice(0, PAGE + stored.length).map((row) => html`<li key=${row.id} class="crash" data-event=${row.event}>
      <${CrashLine} row=${row} small open=${open === row.id} onOpen=${() => flip(row.id)} />${open === row.id && html`<${Crash} row=${row} small />`}</li>`)}</ul>${earlier}`
}

// Thousands of rows of one height, of which only those in view are in the document.
function Long({ rows, open, onOpen, earlier }) {
  const size = matchMedia('(max-width: 760px)').matches ? ROW_NARROW : ROW
  const { box, onScroll, first, last } = useWindow(rows.length, size)
  return html`
    <div class="crash-list" ref=${box} onScroll=${onScroll} tabindex="0">
      <ul class="crashes" style=${{ height: `${rows.length * size}px` }}>${rows.slice(first, last).map((row, i) => html`
        <li key=${row.id} class="crash" data-event=${row.event} aria-setsize=${rows.length} aria-posinset=${first + i + 1}
          style=${{ height: `${size}px`, transform: `translateY(${(first + i) * size}px)` }}><${CrashLine} row=${row} open=${open === row.id} onOpen=${() => onOpen(row.id)} /></li>`)}</ul>
      ${earlier}
    </div>`
}

const Beside = ({ row, onClose }) => html`
  <aside class="details" aria-label=${t('actors.crash.details')} onKeyDown=${(event) => event.key === 'Escape' && onClose()}>
    <header><h2>${t(`actors.event.${row.event}`)}</h2><${IconButton} icon="x" label=${t('close')} onClick=${onClose} /></header>
    <p class="mono path">${row.path}</p><${Crash} key=${row.id} row=${row} /></aside>`

const CrashLine = ({ row, small, open, onOpen }) => html`
  <button type="button" class="crash-line" aria-expanded=${String(open)} onClick=${onOpen}>
    <span class="crash-time"><${Ago} at=${row.at} /></span>
    <span class="crash-event"><i class="glyph" data-state=${GLYPHS[row.event] ?? 'stopped'}></i>${t(`actors.event.${row.event}`)}</span>
    ${!small && html`<span class="crash-path mono tail" title=${row.path}><bdi>${row.path}</bdi></span>`}
    <span class="crash-error">${row.error_type && html`<b class="error-type">${row.error_type}</b> `}${row.error_message ?? row.reason ?? ''}</span>
    ${!small && html`<span class="crash-hand mono">${row.in_hand_type ?? ''}</span><span class="crash-window">${row.restarts_in_window ? t('actors.crashes.window', { n: row.restarts_in_window }) : ''}</span>`}
  </button>`

const GLYPHS = { crashed: 'backoff', restarted: 'running', started: 'running', quarantined: 'quarantined', escalated: 'quarantined' }

// A row the socket told lacks what only the log keeps: the traceback, the message in hand. It is read when opened.
function Crash({ row: told, small }) {
  const [kept, setKept] = useState(null)
  useEffect(() => {
    if (!told.id.startsWith('live-')) return
    const same = (one) => one.incarnation === told.incarnation
    get('/v1/actor-crashes', { path: told.path, event: told.event, limit: 5 }).then(({ crashes }) => setKept(crashes.find(same))).catch(() => null)
  }, [told.id])
  const row = kept ?? told
  const facts = [
    ['class', row.class], ['incarnation', row.incarnation], ['supervisor', row.supervisor], ['reason', row.reason], ['by', row.by], ['in_hand', row.in_hand_type],
    ['trace', row.in_hand_trace_id], ['depth', row.mailbox_depth], ['uptime', row.uptime_ms != null ? duration(row.uptime_ms) : null],
    ['backoff', row.backoff_ms ? duration(row.backoff_ms) : null], ['fingerprint', row.fingerprint],
  ].filter(([, value]) => value != null && value !== '')
  const report = [`${row.event} ${row.path} ${row.at}`, ...facts.map(([name, value]) => `${name}: ${value}`), `${row.error_type ?? ''}: ${row.error_message ?? ''}`, row.traceback ?? ''].join('\n')
  const query = route.value.query
  return html`
    <div class="crash-detail">
      <p class="crash-tools"><time datetime=${row.at}>${fullTime(row.at)}</time>
        ${!small && html`<a href=${href('actors', { ...query, sel: row.path, tab: 'overview' })}>${t('actors.show')}</a>`}
        ${!small && html`<a href=${href('actors', { view: 'crashes', of: row.path })}>${t('actors.crashes.same')}</a>`}
        <${IconButton} icon="copy" label=${t('actors.crashes.copy')} onClick=${() => copyText(report)} /></p>
      <dl>${facts.map(([name, value]) => html`<div key=${name}><dt>${t(`actors.fact.${name}`)}</dt><dd class="mono">${typeof value === 'number' ? number(value) : value}</dd></div>`)}</dl>
      ${row.error_message && html`<p class="mono">${row.error_message}</p>`}
      ${row.traceback && html`<pre tabindex="0">${row.traceback}</pre>`}
    </div>`
}

// Causes instead of rows: how often, where, since when, and when in the recent past.
function Causes() {
  const { of = '', event = '' } = route.value.query
  const [found, setFound] = useState(null)
  const [error, setError] = useState(null)
  const read = async () => {
    try {
      const [{ groups }, { crashes }] = await Promise.all([
        get('/v1/actor-crashes', { path: of, event, group: true, limit: PAGE, offset: 0 }), get('/v1/actor-crashes', { path: of, event: event || 'crashed', limit: RECENT, offset: 0 }),
      ])
      setFound({ groups, crashes })
      setError(null)
    } catch (refused) {
      setError(refused)
    }
  }
  useEffect(() => {
    read()
  }, [of, event])
  if (error) return html`<${Trouble} error=${error} retry=${read} />`
  if (!found) return html`<${Skeleton} />`
  if (found.groups.length === 0) return html`<${Empty} title=${t('actors.crashes.none')} />`
  const times = found.crashes.map(({ at }) => new Date(at).getTime())
  const from = Math.min(...times)
  const span = Math.max(1, Math.max(...times) - from)
  const history = (cause) => {
    const bars = Array(SPARKS).fill(0)
    for (const { fingerprint, at } of found.crashes) if (fingerprint === cause) bars[Math.min(SPARKS - 1, Math.floor(((new Date(at) - from) / span) * SPARKS))]++
    return bars
  }
  return html`
    <div class="scroll-x"><table class="table causes">
      <thead><tr>${['cause', 'class', 'times', 'actors', 'recent', 'first', 'last'].map((name) => html`<th key=${name} scope="col">${t(`actors.cause.${name}`)}</th>`)}</tr></thead>
      <tbody>${found.groups.map((group) => html`<tr key=${group.fingerprint}>
        <td><a href=${href('actors', { ...route.value.query, group: '', cause: group.fingerprint })}><b class="error-type">${group.error_type}</b> ${group.error_message}</a></td>
        <td>${group.class}</td><td class="number">${number(group.count)}</td><td class="number">${number(Array.isArray(group.paths) ? group.paths.length : group.paths)}</td>
        <td><${Bars} values=${history(group.fingerprint)} label=${t('actors.cause.bars', { n: history(group.fingerprint).reduce((a, b) => a + b, 0) })} /></td>
        <td><${Ago} at=${group.first_at} /></td><td><${Ago} at=${group.last_at} /></td></tr>`)}</tbody></table></div>`
}

export function Crashes() {
  const { of = '', event = '', cause = '', group } = route.value.query
  return html`
    <div class="view-bar">
      <label class="search"><${Icon} name="filter" /><span class="unseen">${t('actors.crashes.path')}</span>
        <input type="search" placeholder=${t('actors.crashes.path')} value=${of} onChange=${(change) => refine({ of: change.target.value })} /></label>
      <select aria-label=${t('actors.crashes.event')} onChange=${(change) => refine({ event: change.target.value })}>
        <option value="" selected=${!event}>${t('actors.crashes.event.all')}</option>
        ${OCCASIONS.map((name) => html`<option key=${name} value=${name} selected=${name === event}>${t(`actors.event.${name}`)}</option>`)}
      </select>
      <label class="check"><input type="checkbox" checked=${!!group} onChange=${(change) => refine({ group: change.target.checked ? '1' : '', cause: '' })} /> ${t('actors.crashes.group')}</label>
      ${(of || event || cause) && html`<button type="button" class="quiet" onClick=${() => refine({ of: '', event: '', cause: '' })}>${t('filter.clear')}</button>`}
    </div>
    <div class="crash-view">${group ? html`<div class="view-scroll" tabindex="0"><${Causes} /></div>` : html`<${CrashTable} />`}</div>`
}
