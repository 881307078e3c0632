// A conversation on the screen: history plus run events become a list of entries. No network here.
// Contract: edge-websocket.md §6.3 (runSeq), §8.1–8.3 (run events).
import { batch, signal } from '@preact/signals'

const FRAME = 34 // ms between paints of streamed text: at most 30 a second (dashboard.md §8)

let lastId = 0
const entry = (kind, runId, rest) => ({ id: ++lastId, kind, runId, ...rest })

const user = (text, runId, at) => entry('user', runId, { text, at })
const note = (key, runId) => entry('note', runId, { key })
const tool = (runId, { id, name, arguments: args }) =>
  entry('tool', runId, { callId: id, name, args: args ?? {}, result: signal(null) })
const assistant = (runId, text = '', thinking = '', state = 'streaming', files = []) =>
  entry('assistant', runId, { text: signal(text), thinking: signal(thinking), state: signal(state), usage: signal(null), files: signal(files) })

export class Transcript {
  entries = signal([])
  active = signal([]) // ids of runs that have not ended, oldest first
  activity = signal(null) // {phase, detail?, tool?, attempt?, maxAttempts?} of the newest event that had one
  hasMore = signal(false) // there is older history
  oldest = null // message id to page before
  #runs = new Map() // run id → {seq, segment, incoming, thinking, tools, lossy}
  #painting = 0

  // Put history in front. Runs in `live` will be replayed by their events, so only their questions are kept.
  load({ messages, hasMore }, live = new Set()) {
    const tools = new Map()
    const found = []
    for (const message of messages) {
      const { role, content, run_id: runId } = message
      if (role === 'user') {
        if (!content.startsWith('[System]')) found.push(user(content, runId, message.created_at))
      } else if (live.has(runId)) {
        continue
      } else if (role === 'assistant') {
        const files = (message.media_refs ?? []).map((file) => ({ path: file.path, content_type: file.mime_type }))
        if (content || message.thinking || files.length) found.push(assistant(runId, content, message.thinking, 'done', files))
        for (const call of message.tool_calls ?? []) {
          const row = tool(runId, call)
          tools.set(call.id, row)
          found.push(row)
        }
      } else if (tools.has(message.tool_call_id)) {
        tools.get(message.tool_call_id).result.value = { text: content, isError: !!message.is_error, ms: null }
      }
    }
    batch(() => {
      this.entries.value = [...found, ...this.entries.value]
      this.hasMore.value = !!hasMore
      this.oldest = messages[0]?.id ?? this.oldest
    })
  }

  // The user's own words, shown before the gateway has them.
  say(text) {
    const said = user(text, null, Date.now())
    said.requestId = null // of the chat.send, to recognise its run
    this.#add(said)
    return said
  }

  refuse(error, text) {
    this.#add(entry('failure', null, { error, prompt: text }))
  }

  // What a slash word answered: shown, and stored nowhere.
  reply(text) {
    this.#add(assistant(null, text, '', 'done'))
  }

  seq(runId) {
    return this.#runs.get(runId)?.seq ?? 0
  }

  // Apply one run event in order. False when events before it are missing: the caller must resume the run.
  apply({ type, runId, runSeq, runSeqFrom = runSeq, runKind, payload = {} }) {
    const run = this.#run(runId)
    if (runSeq <= run.seq) return true
    if (runSeqFrom > run.seq + 1 && !run.lossy) return false
    run.seq = runSeq
    batch(() => {
      if (type !== 'chunk' && type !== 'thinking') this.#paint()
      this.#on[type]?.(run, payload, runKind)
    })
    return true
  }

  // The buffer of the run is gone: `text` is all it has said so far.
  skipTo(runId, seq, text) {
    const run = this.#run(runId)
    run.seq = seq
    run.incoming = ''
    this.#segment(run).text.value = text
    this.#begin(run)
  }

  // Nothing can be replayed: go on with what comes.
  acceptLoss(runId) {
    this.#run(runId).lossy = true
  }

  dispose() {
    clearTimeout(this.#painting)
  }

  #on = {
    'run.queued': (run, { requestId, position }) => {
      const said = requestId && this.entries.value.findLast((e) => e.kind === 'user' && e.requestId === requestId)
      if (said) said.runId = run.id
      this.#begin(run)
      if (!this.activity.value) this.activity.value = { phase: 'queued', position }
    },
    'run.started': (run, { message }, runKind) => {
      this.#begin(run)
      this.activity.value = { phase: 'thinking' }
      if (message && !runKind && !this.entries.value.some((e) => e.kind === 'user' && e.runId === run.id)) this.#claim(run, message)
    },
    'run.recovered': (run, { checkpoint }) => {
      if (!checkpoint) this.#void(run)
    },
    'run.retrying': (run, { reset, attempt, maxAttempts }) => {
      this.activity.value = { phase: 'retrying', attempt: Number(attempt), maxAttempts: Number(maxAttempts) }
      if (reset) this.#void(run)
    },
    activity: (run, activity) => {
      this.activity.value = activity
    },
    thinking: (run, { content }) => {
      run.thinking += content
      this.#schedule()
    },
    chunk: (run, { content }) => {
      run.incoming += content
      if (this.activity.value?.phase !== 'streaming') this.activity.value = { phase: 'streaming' }
      this.#schedule()
    },
    'block.reply': (run, { content }) => {
      this.#segment(run).text.value = content
      this.#endSegment(run)
    },
    'tool.call': (run, call) => {
      this.#endSegment(run)
      const row = tool(run.id, call)
      run.tools.set(call.id, row)
      this.#add(row)
    },
    'tool.result': (run, { id, is_error: isError, result, content, durationMs }) => {
      const row = run.tools.get(id)
      if (row) row.result.value = { text: content ?? result ?? '', isError: !!isError, ms: durationMs ?? null }
    },
    'run.completed': (run, { content, usage, media, durationMs, offline, cancelled, echo }) => {
      if (echo) {
        if (content) this.#segment(run, 'cancelled').text.value = content
        return
      }
      if (content || media || run.segment) {
        const segment = this.#segment(run)
        segment.files.value = media ?? []
        if (content != null) segment.text.value = content
        segment.usage.value = { ...usage, durationMs, offline }
      }
      this.#end(run, cancelled ? 'cancelled' : 'done')
    },
    'run.failed': (run, { error, code, reason, retryable }) => {
      this.#end(run, 'done')
      const asked = this.entries.value.findLast((e) => e.kind === 'user' && e.runId === run.id)
      this.#add(entry('failure', run.id, { error: { code, message: error, details: { reason }, retryable }, prompt: asked?.text }))
    },
    'run.cancelled': (run, { reason }) => {
      if (reason === 'dropped') this.#add(note('chat.dropped', run.id))
      else this.#segment(run)
      const last = run.segment
      this.#end(run, 'cancelled')
      run.segment = last // its echo brings the authoritative partial text
    },
  }

  #run(id) {
    if (!this.#runs.has(id)) this.#runs.set(id, { id, seq: 0, segment: null, incoming: '', thinking: '', tools: new Map() })
    return this.#runs.get(id)
  }

  #begin(run) {
    if (!this.active.value.includes(run.id)) this.active.value = [...this.active.value, run.id]
  }

  #end(run, state) {
    this.#endSegment(run, state)
    this.active.value = this.active.value.filter((id) => id !== run.id)
    this.activity.value = null
  }

  // A question asked elsewhere (another tab, a reload) is shown once, whoever brings it first.
  #claim(run, preview) {
    const said = this.entries.value.findLast((e) => e.kind === 'user' && !e.runId && e.text.startsWith(preview))
    if (said) said.runId = run.id
    else this.#add(user(preview, run.id, Date.now()))
  }

  #segment(run, state) {
    if (!run.segment) {
      run.segment = assistant(run.id, '', '', state)
      this.#add(run.segment)
    }
    return run.segment
  }

  #endSegment(run, state = 'done') {
    if (run.segment) run.segment.state.value = state
    run.segment = null
  }

  #void(run) {
    if (run.segment) this.entries.value = this.entries.value.filter((e) => e !== run.segment)
    run.segment = null
  }

  #add(row) {
    this.entries.value = [...this.entries.value, row]
  }

  #schedule() {
    this.#painting ||= setTimeout(() => batch(() => this.#paint()), FRAME)
  }

  #paint() {
    clearTimeout(this.#painting)
    this.#painting = 0
    for (const run of this.#runs.values()) {
      if (!run.incoming && !run.thinking) continue
      const segment = this.#segment(run)
      segment.text.value += run.incoming
      segment.thinking.value += run.thinking
      run.incoming = run.thinking = ''
    }
  }
}
