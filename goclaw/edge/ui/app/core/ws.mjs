// One socket to the gateway: requests with ids and deadlines, events, and its own reconnects.
// Contract: edge-websocket.md §2 (frames), §5 (connect), §6.4 (back-off); states: dashboard.md §4.3.
import { batch, signal } from '@preact/signals'

const DEADLINE = 30_000 // ms per request; wire-compat.md B2
const SILENCE = 45_000 // ms without a frame before the link counts as stale; the gateway ticks every 30 s
const FIRST_DELAY = 500 // ms, doubling
const LONGEST_DELAY = 30_000
const FLOOD_DELAY = 30_000 // after close 4429 (edge-websocket.md §1.2)

export class Refusal extends Error {
  constructor({ code, message, details = {}, retryable = false, retryAfterMs = 0 }) {
    super(message)
    Object.assign(this, { code, details, retryable, retryAfterMs })
  }
}

const lost = () => new Refusal({ code: 'UNAVAILABLE', message: '', details: { reason: 'connection_lost' }, retryable: true })

export class Gateway {
  state = signal('idle') // idle · connecting · live · stale · reconnecting
  hello = signal(null) // the answer of connect, null until the first one
  retryAt = signal(0) // ms, when `reconnecting`
  #url
  #socket = null
  #who = null
  #onRefused
  #waiting = new Map() // request id → {resolve, reject, timer}
  #listeners = new Map() // event name → Set of functions
  #lastId = 0
  #attempt = 0
  #delayAsked = 0
  #timer = 0
  #watch = 0

  constructor(url) {
    this.#url = url
    addEventListener('online', () => this.state.value === 'reconnecting' && this.#dial())
  }

  // Stay connected as `who` ({token, user_id, locale}) until `close`. `onRefused(error)` is called when the
  // gateway says no to the credential, at first or later; then nothing is tried again.
  open(who, onRefused) {
    this.close()
    this.#who = who
    this.#onRefused = onRefused
    this.state.value = 'connecting'
    this.#dial()
  }

  close() {
    clearTimeout(this.#timer)
    clearTimeout(this.#watch)
    const socket = this.#socket
    this.#socket = null
    this.#attempt = 0
    socket?.close(1000)
    this.#dropWaiting()
    batch(() => {
      this.state.value = 'idle'
      this.hello.value = null
    })
  }

  // The payload of the answer. Rejects with Refusal, also when the link breaks or `within` ms pass.
  call(method, params = {}, { within = DEADLINE, onId } = {}) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return Promise.reject(lost())
    const id = String(++this.#lastId)
    onId?.(id)
    const answer = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        reject(new Refusal({ code: 'UNAVAILABLE', message: '', details: { reason: 'no_answer' }, retryable: true }))
      }, within)
      this.#waiting.set(id, { resolve, reject, timer })
    })
    this.#socket.send(JSON.stringify({ type: 'req', id, method, params }))
    return answer
  }

  // Calls `hear(payload)` for every event of that name; the returned function ends it.
  on(event, hear) {
    const hearers = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, hearers.add(hear))
    return () => hearers.delete(hear)
  }

  #dial() {
    clearTimeout(this.#timer)
    const socket = new WebSocket(this.#url)
    this.#socket = socket
    socket.onopen = () => this.#greet(socket)
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(JSON.parse(data))
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#closed(code, reason)
  }

  async #greet(socket) {
    try {
      const hello = await this.call('connect', { ...this.#who, protocol: 3, client: { name: 'dashboard', mode: 'ui' } })
      if (hello.status === 'pending_pairing') throw new Refusal({ code: 'UNAUTHORIZED', message: '', details: { reason: 'unauthenticated' } })
      this.#attempt = 0
      batch(() => {
        this.hello.value = hello
        this.state.value = 'live'
      })
    } catch (error) {
      if (socket !== this.#socket) return
      if (error.retryable || error.code === 'INTERNAL') socket.close()
      else this.#refused(error)
    }
  }

  #receive(frame) {
    clearTimeout(this.#watch)
    this.#watch = setTimeout(() => this.#silent(), SILENCE)
    if (this.state.value === 'stale') this.state.value = 'live'
    if (frame.type === 'res') {
      const waiting = this.#waiting.get(frame.id)
      if (!waiting) return
      this.#waiting.delete(frame.id)
      clearTimeout(waiting.timer)
      if (frame.ok) waiting.resolve(frame.payload)
      else waiting.reject(new Refusal(frame.error))
    } else if (frame.type === 'event') {
      if (frame.event === 'shutdown') this.#delayAsked = frame.payload.reconnectAfterMs ?? 0
      this.#listeners.get(frame.event)?.forEach((hear) => hear(frame.payload))
    }
  }

  // A question instead of a verdict: laptops sleep. No answer means the link is dead.
  #silent() {
    const socket = this.#socket
    this.state.value = 'stale'
    this.call('health', {}, { within: 10_000 }).catch(() => {
      if (socket !== this.#socket || this.state.value !== 'stale') return
      socket.onclose = null // a dead peer never answers the closing handshake
      socket.close()
      this.#closed(4408, 'idle')
    })
  }

  #closed(code, reason) {
    clearTimeout(this.#watch)
    this.#dropWaiting()
    const slow = reason === 'handshake_timeout' // the link or this tab was; the credential was not looked at
    if ((code === 4401 && !slow) || code === 4403) {
      this.#refused(new Refusal({ code: 'UNAUTHORIZED', message: '', details: { reason: reason || 'revoked' } }))
      return
    }
    const backOff = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#attempt++) * (0.8 + 0.4 * Math.random())
    const delay = Math.max(backOff, this.#delayAsked, code === 4429 ? FLOOD_DELAY : 0)
    this.#delayAsked = 0
    batch(() => {
      this.retryAt.value = Date.now() + delay
      this.state.value = 'reconnecting'
    })
    this.#timer = setTimeout(() => this.#dial(), delay)
  }

  #refused(error) {
    const tell = this.#onRefused
    this.close()
    tell(error)
  }

  #dropWaiting() {
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer)
      reject(lost())
    }
    this.#waiting.clear()
  }
}
