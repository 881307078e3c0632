// Keeps a tree true for as long as somebody looks: events first, then the tree, then small reads of what is in sight.
// Contract: dashboard.md §7.1.
import { gateway, get } from '../core/gateway.mjs'
import { EVENTS } from './tree.mjs'

const DEPTH = 3 // levels read at first
const EVERY = 2000 // ms between reads
const EVERY_LARGE = 5000 // with more than LARGE rows in sight
const LARGE = 200 // rows
const WHOLE = 15 // every so many reads ask for all fields again, for what `fields=live` does not tell
const STRANGERS = 8 // actors known from events only, read per turn
const BATCH = 200 // ms between two batches of events: a storm must not paint at every frame
const FLOOD = 5000 // events waiting; beyond that a whole read is cheaper
const TROUBLES = ['backoff', 'quarantined', 'suspended', 'stopped', 'starting', 'stopping']
const PAGE = 50 // actors of one flat read
const HOTTEST = ['mailbox', 'wait', 'handle', 'in_hand', 'restarts'] // orders of which the first 50 are shown
const CLASSES = 4 // of a crowd, counted

// Calls `news.read()` after every read, `news.trouble(error)` when one fails, `news.events([[name, event]])` for each batch.
// `sight()` is asked before each read: {root, reads: [{path, depth}], rows, deep, crowds}. Gives {read, load, crowd, stop}.
export function follow(tree, sight, news) {
  const gone = new AbortController()
  let events = []
  let wait = 0 // a timer, then a frame: nobody paints for a hidden page
  let frame = 0
  let applied = 0 // when
  let snapped = false
  let reads = 0
  let busy = false
  let again = false
  let timer = 0

  const hear = (name, event) => {
    events.push([name, event])
    if (events.length > FLOOD) {
      events = []
      snapped = false
    }
    if (snapped) wait ||= setTimeout(() => (frame = requestAnimationFrame(apply)), Math.max(0, applied + BATCH - Date.now()))
  }
  const apply = () => {
    wait = 0
    applied = Date.now()
    const heard = events
    events = []
    news.events(heard)
    tree.apply(heard)
  }

  async function snapshot() {
    const { root, deep } = sight()
    const { generatedAt, ...answer } = await gateway.call('actors.tree', { path: root, depth: deep ? 16 : DEPTH })
    tree.take({ ...answer, generated_at: generatedAt ?? answer.generated_at })
    if (root !== '/') await load('/', 1)
    snapped = true
    apply()
  }

  const load = async (path, depth, fields) => tree.take(await get('/v1/actors', { path, depth, fields }, gone.signal))

  async function live() {
    const whole = reads++ % WHOLE === WHOLE - 1
    const { reads: wanted } = sight()
    if (reads % 3 === 0 && !wanted.some(({ path }) => path === '/')) wanted.push({ path: '/', depth: 1 }) // for the totals
    for (const { path, depth } of wanted) {
      if (!(await load(path, depth, whole ? undefined : 'live')) && !whole) await load(path, depth)
    }
    const strangers = [...tree.unread].slice(-STRANGERS)
    for (const path of strangers) {
      tree.unread.delete(path)
      const node = await gateway.call('actors.get', { path }).catch(() => null)
      if (node) tree.add([node])
    }
  }

  async function read() {
    clearTimeout(timer)
    if (document.hidden || gone.signal.aborted) return
    again = busy
    if (busy) return
    busy = true
    try {
      await (snapped ? live() : snapshot())
      news.read()
    } catch (error) {
      if (gone.signal.aborted) return
      if (error.code === 'NOT_FOUND' || error.code === 'GONE') snapped = false // what we looked at has ended
      news.trouble(error)
    } finally {
      busy = false
    }
    timer = setTimeout(read, again ? 0 : sight().rows > LARGE ? EVERY_LARGE : EVERY)
  }

  // Counts of a crowd by state and class, its actors in trouble and its hottest, which a listing of 200 need not show.
  // `filter` {state, class} and a `prefix` below `path` name more of them.
  async function crowd(path, filter = {}, prefix = '') {
    const flat = (asked) => get('/v1/actors', { path, format: 'flat', limit: PAGE, offset: 0, ...asked }, gone.signal)
    const asked = [...TROUBLES.map((state) => ({ state })), ...HOTTEST.map((sort) => ({ sort }))]
    if (filter.state || filter.class) asked.push(filter)
    if (prefix.startsWith(path) && prefix.length > path.length + 1) asked.push({ text: prefix })
    const found = await Promise.all(asked.map(flat))
    tree.add(found.flatMap(({ actors }) => actors))
    const node = tree.known.get(path)
    if (!node) return
    const classes = [...new Set((node.children ?? []).map((child) => tree.known.get(child)?.class).filter(Boolean))].slice(0, CLASSES)
    const sizes = await Promise.all(classes.map((name) => flat({ class: name, limit: 1 })))
    const counts = { state: {}, class: Object.fromEntries(classes.map((name, i) => [name, sizes[i].total])) }
    TROUBLES.forEach((state, i) => found[i].total && (counts.state[state] = found[i].total))
    counts.state.running = Math.max(0, node.children_total - Object.values(counts.state).reduce((a, b) => a + b, 0))
    tree.mark(path, { counts })
  }

  const crowds = setInterval(() => {
    if (!document.hidden) for (const path of sight().crowds) crowd(path).catch(() => null)
  }, EVERY * WHOLE)
  const offs = EVENTS.map((name) => gateway.on(name, (event) => hear(name, event)))
  offs.push(gateway.on('actor.deadletters', (event) => news.events([['actor.deadletters', event]])))
  offs.push(gateway.on('system.backpressure', () => (snapped = false)))
  document.addEventListener('visibilitychange', read)
  // A gateway that cannot tell events is followed by reading alone.
  gateway.call('actors.subscribe', { action: 'start', path: '/' }).catch(() => null).then(read)

  const stop = () => {
    gone.abort()
    clearTimeout(timer)
    clearTimeout(wait)
    clearInterval(crowds)
    cancelAnimationFrame(frame)
    offs.forEach((off) => off())
    document.removeEventListener('visibilitychange', read)
    gateway.call('actors.subscribe', { action: 'stop', path: '/' }).catch(() => null)
  }
  return { read, load: (path, depth) => load(path, depth).catch(news.trouble), crowd, stop }
}
