// The tree as values: what the gateway answered, and what its events changed since.
// Contract: edge-http.md §26 (E-ActorNode), edge-websocket.md §8.4 (actor.*), dashboard.md §7.1.
import { signal } from '@preact/signals'

export const CROWD = 200 // children above which a supervisor is shown as counts and its hottest
const HOTTEST = 50
const MEMBERS = 1000 // of one crowd, remembered
const HOT_FOR = 2000 // ms the choice of the hottest stands, so that rows do not jump
const SAMPLES = 300 // mailbox depths of one actor: 10 minutes at one read per 2 s
const LONG_IN_HAND = 5000 // ms
const FULL_MAILBOX = 0.8 // of the capacity
const PULSE = 1000 // ms

export const parentOf = (path) => (path === '/' ? null : path.slice(0, path.lastIndexOf('/')) || '/')
export const fullness = ({ mailbox }) => (mailbox?.capacity ? mailbox.depth / mailbox.capacity : 0)
export const busy = (node) => node.state === 'running' && node.in_hand?.age_ms > LONG_IN_HAND
export const troubled = (node) => node.state !== 'running' || node.restarts_window > 0 || fullness(node) >= FULL_MAILBOX || busy(node)
export const label = (node) => node.name || (node.path === '/' ? '/' : node.path.slice(node.path.lastIndexOf('/') + 1))
export const crowded = (node) => node.children_total > CROWD

export class Tree {
  known = new Map() // path → node; its `children` are paths
  version = signal(0) // grows with every change: who reads it is shown the new tree
  totals = signal(null)
  unread = new Set() // paths heard of in events and never read
  skew = 0 // ms the gateway's clock is ahead of ours

  now = () => Date.now() + this.skew

  // An answer of the gateway: `root` with its descendants, as of `at`. Nodes of `fields=live` lack what rarely changes;
  // that stays as it was. False when they show an actor or an incarnation we have never read in full.
  take({ root, totals, generated_at: at }) {
    this.skew = new Date(at) - Date.now()
    if (totals && root.path === '/') this.totals.value = { ...totals, at: new Date(at), rate: this.#rate(totals, new Date(at)) }
    const complete = this.#merge(root)
    this.version.value++
    return complete
  }

  // Messages handled per second since the totals before; null when those are missing or as old as these.
  #rate({ handled }, at) {
    const before = this.totals.value
    return before && at > before.at ? Math.max(0, ((handled - before.handled) * 1000) / (at - before.at)) : (before?.rate ?? null)
  }

  // Actors that no listing of their parent need show, as `format=flat` gives them.
  add(actors) {
    for (const actor of actors) {
      this.#merge(actor)
      this.#enter(actor.path)
    }
    this.version.value++
  }

  // What only the page knows of an actor: that it asked for a restart, say.
  mark(path, change) {
    const node = this.known.get(path)
    if (!node) return
    this.known.set(path, { ...node, ...change })
    this.version.value++
  }

  // Events in the order they came; those older than what was read say nothing new.
  apply(events) {
    for (const [name, event] of events) this.#hear(name, event)
    if (events.length) this.version.value++
  }

  // Up to 50 children of a crowd: the deepest mailboxes, the longest waits, the most restarts, in turns.
  hottest(node) {
    if (this.now() - (node.hot?.at ?? 0) < HOT_FOR) return node.hot.paths.filter((path) => this.known.has(path))
    const members = (node.children ?? []).map((path) => this.known.get(path)).filter(Boolean)
    const heats = [(n) => n.mailbox?.depth, (n) => n.latency_us?.wait?.p95, (n) => (n.restarts_window ?? 0) * 1000 + (n.restarts_total ?? 0)]
    const lists = heats.map((heat) => [...members].sort((a, b) => (heat(b) ?? 0) - (heat(a) ?? 0)))
    const paths = new Set()
    for (let i = 0; i < members.length && paths.size < HOTTEST; i++) for (const list of lists) if (paths.size < HOTTEST) paths.add(list[i].path)
    node.hot = { at: this.now(), paths: [...paths] }
    return node.hot.paths
  }

  #merge(node) {
    const old = this.known.get(node.path)
    const full = 'class' in node
    let complete = full || old?.incarnation === node.incarnation
    const merged = { ...(full ? pick(old, OURS) : old), ...node, children: this.#children(old, node), read_at: this.now() }
    for (const name of OF_STATE) merged[name] = node.state === old?.state ? old?.[name] : undefined
    if (!full && old?.latency_us) merged.latency_us = deeper(old.latency_us, node.latency_us)
    if (merged.restarting && node.incarnation > merged.restarting.from) merged.restarting = undefined
    measure(merged, old, this.now())
    this.known.set(node.path, merged)
    if (full) this.unread.delete(node.path)
    for (const child of node.children ?? []) complete = this.#merge(child) && complete
    return complete
  }

  // A complete listing replaces what we thought; the first 200 of a crowd only add to it.
  #children(old, { children, more }) {
    if (!children) return old?.children
    const listed = children.map((child) => child.path)
    const present = new Set(listed)
    const others = (old?.children ?? []).filter((path) => !present.has(path))
    if (more) return [...others.slice(-(MEMBERS - listed.length)), ...listed]
    others.forEach((path) => this.#forget(path))
    return listed
  }

  #forget(path) {
    const node = this.known.get(path)
    this.known.delete(path)
    this.unread.delete(path)
    node?.children?.forEach((child) => this.#forget(child))
  }

  #enter(path) {
    const parent = this.known.get(parentOf(path))
    if (!parent?.children || parent.children.includes(path)) return parent
    const children = [...parent.children, path]
    if (crowded(parent) && children.length > MEMBERS) this.#forget(children.shift())
    this.known.set(parent.path, { ...parent, children })
    return parent
  }

  #leave(path) {
    const parent = this.known.get(parentOf(path))
    this.#forget(path)
    if (!parent?.children) return
    const children = parent.children.filter((child) => child !== path)
    this.known.set(parent.path, { ...parent, children, children_total: Math.max(children.length, parent.children_total - 1) })
  }

  #hear(name, event) {
    const { path } = event
    const at = event.at ? new Date(event.at).getTime() : this.now()
    const node = this.known.get(path) ?? this.#stub(name, event)
    if (!node || event.incarnation < node.incarnation || at < node.read_at) return
    // Nobody stopped it: it ended, or sleeps until the next message.
    if (name === 'actor.stopped' && !event.by) this.#leave(path)
    else this.known.set(path, { ...node, ...CHANGES[name]?.(event, at, node), pulse: LOUD.has(name) ? at : node.pulse })
  }

  // An actor nobody has read yet, when its parent is shown.
  #stub(name, event) {
    const parent = this.known.get(parentOf(event.path ?? '/'))
    if (!parent?.children || name === 'actor.stopped') return null
    this.#enter(event.path)
    if (name === 'actor.started') this.known.set(parent.path, { ...this.known.get(parent.path), children_total: parent.children_total + 1 })
    this.unread.add(event.path)
    const { path, kind, incarnation } = event
    return { path, kind, class: event.class, incarnation, state: 'running', children_total: 0, restarts_window: 0, restarts_total: 0 }
  }
}

const LOUD = new Set(['actor.crashed', 'actor.quarantined', 'actor.escalated'])
export const pulsing = (node, now) => node.pulse && now - node.pulse < PULSE
const failure = ({ error, incarnation, reason }, at) => ({ ...error, type: error?.type ?? reason, message: error?.message ?? '', at, incarnation })
const begun = ({ incarnation, by }, at) => ({ state: 'running', incarnation, by, started_at: at, in_hand: null, restart_at: undefined })

// What each event means for the actor it names.
const CHANGES = {
  'actor.started': begun,
  'actor.stopped': ({ by }) => ({ state: 'stopped', by, in_hand: null, restart_at: undefined }),
  'actor.crashed': (event, at, node) => ({
    state: 'backoff', last_error: failure(event, at), restarts_window: event.restartsWindow ?? node.restarts_window, in_hand: null,
    restart_at: event.backoffMs > 0 ? at + event.backoffMs : undefined,
  }),
  'actor.restarted': (event, at, node) => ({
    ...begun(event, at), restarts_total: (node.restarts_total ?? 0) + 1, restarts_window: event.restartsWindow ?? node.restarts_window,
    restarting: event.incarnation > node.restarting?.from ? undefined : node.restarting,
  }),
  'actor.quarantined': (event, at, node) => ({
    state: 'quarantined', since: at, reason: event.reason, last_error: event.error ? failure(event, at) : node.last_error, in_hand: null,
    restart_at: event.backoffMs > 0 ? at + event.backoffMs : undefined,
  }),
  'actor.escalated': (event, at) => ({ last_error: failure(event, at) }),
  'actor.mailbox': ({ depth, capacity, dropped }, _, { mailbox }) => ({ mailbox: { ...mailbox, depth, capacity, dropped, high_water: Math.max(mailbox?.high_water ?? 0, depth) } }),
  'actor.slow': ({ message_type: type, age_ms }, _, { in_hand: hand }) => ({ in_hand: { trace_id: hand?.trace_id, type, age_ms } }),
}
export const EVENTS = Object.keys(CHANGES)

// What the page itself knows of an actor, for good and as long as its state stays.
const OURS = ['hot', 'counts', 'restarting', 'pulse', 'rate', 'ring', 'seen']
const OF_STATE = ['by', 'restart_at', 'since', 'reason']
const pick = (from, names) => Object.fromEntries(names.map((name) => [name, from?.[name]]))

const deeper = (old, fresh = {}) => ({ wait: { ...old.wait, ...fresh.wait }, handle: { ...old.handle, ...fresh.handle } })

// Handled messages per minute, and the recent depths of the mailbox as [time, depth, time, depth …].
function measure(node, old, now) {
  const handled = node.counters?.handled
  const since = old?.seen
  if (handled != null && (!since || now - since.at > 500)) {
    node.seen = { at: now, handled, incarnation: node.incarnation }
    if (since?.incarnation === node.incarnation) node.rate = Math.max(0, ((handled - since.handled) / (now - since.at)) * 60_000)
  }
  if (node.mailbox && now - (node.ring?.at(-2) ?? 0) > 500) node.ring = [...(node.ring ?? []).slice(-2 * SAMPLES + 2), now, node.mailbox.depth]
}
