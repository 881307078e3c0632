// One session and its link to the gateway: loads, sends, stops, and catches up after a lost connection.
// Contract: edge-websocket.md §6.4 (resume), §7.2 (chat).
import { signal } from '@preact/signals'
import { uuid } from '../core/ids.mjs'
import { Transcript } from './transcript.mjs'

const PAGE = 50 // messages of history at a time (dashboard.md §8)
const SEND_WITHIN = 600_000 // ms; the gateway may wait for room in the queue

export const newSession = (agent) => `agent:${agent}:ws:direct:${uuid()}`
export const agentOf = (key) => key.split(':')[1]
export const writable = (key) => key.split(':').slice(2, 4).join(':') === 'ws:direct'

export class Conversation {
  transcript = signal(new Transcript())
  state = signal('loading') // loading · ready · failed
  error = signal(null)
  key
  #gateway
  #early = null // events that came while history was on its way
  #resuming = new Set()
  #unsure = [] // {text, idempotencyKey}: sent, but the link broke before the answer
  #stopHearing
  #opening = 0

  constructor(gateway, key) {
    this.#gateway = gateway
    this.key = key
    this.#stopHearing = gateway.on('agent', (event) => event.sessionKey === key && this.#hear(event))
  }

  close() {
    this.#opening++
    this.#stopHearing()
    this.transcript.value.dispose()
  }

  // Read everything again. Called at first and after every reconnect: one path, whatever was missed.
  async open() {
    const turn = ++this.#opening
    this.#early = []
    try {
      const status = await this.#gateway.call('chat.session.status', { sessionKey: this.key })
      const history = await this.#gateway.call('chat.history', { sessionKey: this.key, limit: PAGE })
      if (turn !== this.#opening) return
      this.#show(history, status.runIds ?? [])
    } catch (error) {
      if (turn !== this.#opening) return
      this.#early = null
      this.error.value = error
      if (error.details?.reason !== 'connection_lost') this.state.value = 'failed'
    }
  }

  async older() {
    const transcript = this.transcript.value
    const params = { sessionKey: this.key, limit: PAGE, beforeId: transcript.oldest }
    transcript.load(await this.#gateway.call('chat.history', params))
  }

  // Say `text`. A refusal becomes an error card; a broken link is repaired after the reconnect.
  async send(text, idempotencyKey = uuid()) {
    const transcript = this.transcript.value
    const said = transcript.say(text)
    const params = { message: text, sessionKey: this.key, agentId: agentOf(this.key), stream: true, async: true, idempotencyKey }
    try {
      const answer = await this.#gateway.call('chat.send', params, { within: SEND_WITHIN, onId: (id) => (said.requestId = id) })
      if (answer?.kind === 'command_reply') {
        await this.open() // it may have changed the history, and is no part of it
        this.transcript.value.reply(answer.content)
      }
    } catch (error) {
      if (error.details?.reason === 'connection_lost') this.#unsure.push({ text, idempotencyKey })
      else transcript.refuse(error, text)
    }
  }

  stop() {
    return this.#gateway.call('chat.abort', { sessionKey: this.key, oldest: true })
  }

  #show(history, running) {
    const early = this.#early
    const transcript = new Transcript()
    transcript.load(history, new Set([...running, ...early.map((event) => event.runId)]))
    this.transcript.value.dispose()
    this.transcript.value = transcript
    this.state.value = 'ready'
    this.error.value = null
    this.#early = null
    early.forEach((event) => this.#hear(event))
    running.filter((id) => transcript.seq(id) === 0).forEach((id) => this.#resume(id))
    this.#sendAgain(history.messages)
  }

  // The key makes a second delivery harmless; the history says whether the first arrived.
  #sendAgain(messages) {
    const asked = messages.filter((m) => m.role === 'user').map((m) => m.content)
    const unsure = this.#unsure
    this.#unsure = []
    for (const { text, idempotencyKey } of unsure) if (asked.at(-1) !== text) this.send(text, idempotencyKey)
  }

  #hear(event) {
    if (this.#early) this.#early.push(event)
    else if (!this.transcript.value.apply(event)) this.#resume(event.runId)
  }

  async #resume(runId) {
    if (this.#resuming.has(runId)) return
    this.#resuming.add(runId)
    const transcript = this.transcript.value
    try {
      const params = { sessionKey: this.key, runId, afterRunSeq: transcript.seq(runId) }
      const { gap, status, lastRunSeq, text } = await this.#gateway.call('chat.resume', params)
      if (gap && status === 'running') transcript.skipTo(runId, lastRunSeq, text ?? '')
      else if (gap) this.open()
    } catch {
      transcript.acceptLoss(runId)
    } finally {
      this.#resuming.delete(runId)
    }
  }
}
