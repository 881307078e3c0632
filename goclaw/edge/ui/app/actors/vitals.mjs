// How the whole node is: messages per second, loop lag, zombie threads, restarts per minute, what degrades its health.
// Contract: edge-http.md §1 (metrics, components), dashboard.md §7.2 (top strip).
import { signal } from '@preact/signals'
import { get, request } from '../core/gateway.mjs'

const EVERY = 5000 // ms
const SECOND = 1000 // ms after the first read: a rate needs two
const MINUTES = 60
const PAGE = 200
const PAGES = 5 // of restarts read at first
const SAMPLE = /^goclaw_(actor_messages_total|loop_lag_seconds_bucket|zombie_threads)(\{[^}]*\})? (\S+)/gm

export class Vitals {
  now = signal({ rate: null, lag: null, zombies: null, health: null })
  version = signal(0)
  #restarts = new Map() // minute since the epoch → count
  #before = null
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
      this.#try('metrics', async () => this.#scraped(await (await request('GET', '/metrics', { accept: 'text/plain', signal: gone.signal })).text()))
      this.#try('components', async () => (this.now.value = { ...this.now.value, health: degraded(await get('/v1/health/components', {}, gone.signal)) }))
    }
    this.#try('crashes', () => this.#history(gone.signal))
    const timer = setInterval(read, EVERY)
    const second = setTimeout(read, SECOND)
    read()
    return () => {
      gone.abort()
      clearInterval(timer)
      clearTimeout(second)
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

  #scraped(text) {
    const fresh = { at: Date.now(), messages: 0, buckets: new Map(), zombies: null }
    for (const [, name, labels = '', value] of text.matchAll(SAMPLE)) {
      if (name === 'zombie_threads') fresh.zombies = Number(value)
      else if (name === 'actor_messages_total') fresh.messages += /outcome="handled"/.test(labels) ? Number(value) : 0
      else fresh.buckets.set(Number(/le="([^"]+)"/.exec(labels)?.[1].replace('+Inf', 'Infinity')), Number(value))
    }
    const before = this.#before
    this.#before = fresh
    const rate = before && Math.max(0, (fresh.messages - before.messages) / ((fresh.at - before.at) / 1000))
    this.now.value = { ...this.now.value, zombies: fresh.zombies, rate, lag: p99(fresh.buckets, before?.buckets) }
  }
}

// The upper bound in ms of the bucket that holds the 99th percentile of what came between two scrapes.
function p99(buckets, before) {
  const counts = [...buckets].sort(([a], [b]) => a - b).map(([le, n]) => [le, n - (before?.get(le) ?? 0)])
  const total = counts.at(-1)?.[1]
  return total > 0 ? counts.find(([, n]) => n >= total * 0.99)[0] * 1000 : null
}

// Why the actors make the node's health worse than ok; null when they do not.
function degraded({ components = [] }) {
  const actors = components.find(({ name, component }) => (name ?? component) === 'actors')
  return actors && actors.state !== 'ok' ? { state: actors.state, reason: actors.reason ?? '' } : null
}
