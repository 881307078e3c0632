// Reads the actor tree for as long as somebody looks: whole at first, then only what moves (dashboard.md §7.1).
import { get } from '../core/gateway.mjs'
import { merge } from './tree.mjs'

const EVERY = 2000 // ms between reads
const EVERY_LARGE = 5000 // with more than LARGE rows in sight
const LARGE = 200 // rows
const WHOLE = 15 // every so many reads ask for all fields again, for what `fields=live` does not tell

// Calls `onAnswer({known, totals, skew})` after every read and `onTrouble(error)` when one fails. `sight()` is
// asked before each: {depth, rows}. Gives {read, stop}: `read` asks at once, never twice at a time.
export function follow(sight, onAnswer, onTrouble) {
  const gone = new AbortController()
  let known = new Map()
  let whole = true
  let reads = 0
  let busy = false
  let again = false
  let timer = 0

  async function read() {
    clearTimeout(timer)
    if (document.hidden || gone.signal.aborted) return
    again = busy
    if (busy) return
    busy = true
    const { depth, rows } = sight()
    try {
      const asked = { path: '/', depth, ...(whole ? {} : { fields: 'live' }) }
      const { root, totals, generated_at: at } = await get('/v1/actors', asked, gone.signal)
      const merged = merge(known, root)
      known = merged.known
      again ||= !whole && !merged.complete
      whole = again || ++reads % WHOLE === 0
      onAnswer({ known, totals, skew: new Date(at) - Date.now() })
    } catch (error) {
      if (gone.signal.aborted) return
      whole = true
      onTrouble(error)
    } finally {
      busy = false
    }
    timer = setTimeout(read, again ? 0 : rows > LARGE ? EVERY_LARGE : EVERY)
  }

  const stop = () => {
    gone.abort()
    clearTimeout(timer)
    document.removeEventListener('visibilitychange', read)
  }
  document.addEventListener('visibilitychange', read)
  read()
  return { read, stop }
}
