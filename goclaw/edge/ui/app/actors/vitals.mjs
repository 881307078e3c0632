// How the whole node is: restarts per minute, what degrades its health.
// Contract: edge-http.md §1 (components), dashboard.md §7.2 (top strip).
import { signal } from '@preact/signals'
import { get } from '../core/gateway.mjs'

const EVERY = 5000 // ms
const MINUTES = 60
const PAGE = 200
const PAGES = 5 // of restarts read at first

export class Vitals {
  health = signal(null) // {state, reason} while it is worse than ok
  version = signal(0)
  #restarts = new Map() // minute since the epoch → count
  #absent = new Set() // what this gateway does not have is asked once

  // Restarts in each of the last 60 minutes, the current one last.
  minutes(now) {
    const last = Math.floor(now / 60_000)
    return Array.from({ length: MINUTES }, (_, i) => this.#restarts.get(last - MINUTES + 1 + i) ?? 0)
  }

  restarted(at, times = 1) {
    if (times === 0) return
    const minute = Math.floor(at / 60_000)
    this.#restarts.set(minute, (this.#restarts.get(minute) ?? 0) + times)
    if (this.#restarts.size > 2 * MINUTES) this.#restarts.delete(this.#restarts.keys().next().value)
    this.version.value++
  }

  // Reads until the returned function is called.
  watch() {
    const gone = new AbortController()
    const read = () => {
      if (document.hidden) return
      this.#try('components', async () => (this.health.value = degraded(await get('/v1/health/components', {}, gone.signal))))
    }
    this.#try('crashes', () => this.#history(gone.signal))
    const timer = setInterval(read, EVERY)
    read()
    return () => {
      gone.abort()
      clearInterval(timer)
    }
  }

  async #try(name, ask) {
    if (this.#absent.has(name)) return
    try {
      await ask()
    } catch (error) {
      if (error.code === 'NOT_FOUND' || error.code === '404' || error.code === 'FORBIDDEN') this.#absent.add(name)
    }
  }

  async #history(gone) {
    const from = new Date(Date.now() - MINUTES * 60_000).toISOString()
    this.#restarts.clear()
    for (let page = 0; page < PAGES; page++) {
      const { crashes } = await get('/v1/actor-crashes', { event: 'restarted', from, limit: PAGE, offset: page * PAGE }, gone)
      for (const { at } of crashes) this.restarted(new Date(at).getTime())
      if (crashes.length < PAGE) return
    }
  }
}

// Why the actors make the node's health worse than ok; null when they do not.
function degraded({ components = [] }) {
  const actors = components.find(({ name, component }) => (name ?? component) === 'actors')
  return actors && actors.state !== 'ok' ? { state: actors.state, reason: actors.reason ?? '' } : null
}
