// Where a message is written: Enter sends, Shift+Enter breaks the line, never in the middle of an input method.
import { useSignal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { draft, keepDraft } from '../core/prefs.mjs'
import { Icon } from '../ui/parts.mjs'

const LONGEST = 32_000 // characters (dashboard.md §8)
const SELDOM = 0.9 // of LONGEST, from where the counter shows
const TALLEST = 200 // px, about 8 lines

export function Composer({ conversation }) {
  const text = useSignal(draft(conversation.key))
  const field = useRef()
  const { active, activity } = conversation.transcript.value
  const live = gateway.state.value === 'live'
  const allowed = live && gateway.hello.value.role !== 'viewer'
  const ready = allowed && text.value.trim() !== '' && text.value.length <= LONGEST
  useEffect(() => field.current.focus(), [])
  useLayoutEffect(() => {
    field.current.style.height = 'auto'
    field.current.style.height = `${Math.min(field.current.scrollHeight, TALLEST)}px`
  }, [text.value])
  const write = (value) => {
    text.value = value
    keepDraft(conversation.key, value)
  }
  const send = () => {
    if (!ready) return
    conversation.send(text.value.trim())
    write('')
  }
  const onKeyDown = (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return
    event.preventDefault()
    send()
  }
  return html`
    <form class="composer" onSubmit=${(event) => { event.preventDefault(); send() }}>
      <p class="activity" aria-live="off">${active.value.length > 0 && html`<i class="dot live"></i>${doing(activity.value)}${waiting(active.value.length)}`}</p>
      <div class="composer-box">
        <label class="unseen" for="message">${t('chat.message')}</label>
        <textarea id="message" ref=${field} rows="1" placeholder=${t('chat.placeholder')} value=${text}
          disabled=${gateway.hello.value.role === 'viewer'} onInput=${(event) => write(event.target.value)} onKeyDown=${onKeyDown}></textarea>
        ${active.value.length > 0 && html`<button type="button" class="stop" onClick=${() => conversation.stop().catch(() => {})} disabled=${!allowed}>
          <${Icon} name="square" />${t('chat.stop')}</button>`}
        <button class="primary" aria-label=${t('chat.send')} title=${t('chat.send')} disabled=${!ready}><${Icon} name="send-horizontal" /></button>
      </div>
      <p class="composer-hint"><span>${t('chat.keys')}</span>
        ${text.value.length > LONGEST * SELDOM && html`<span data-over=${text.value.length > LONGEST}>${number(text.value.length)} / ${number(LONGEST)}</span>`}</p>
    </form>`
}

const PHASES = new Set(['queued', 'thinking', 'tool_exec', 'streaming', 'compacting', 'retrying', 'waiting_approval'])

function doing(activity) {
  const { phase, detail, tool, tools, attempt, maxAttempts } = activity ?? {}
  const name = PHASES.has(detail) ? detail : PHASES.has(phase) ? phase : 'thinking'
  return t(`activity.${name}`, { tool: tool ?? tools?.join(', ') ?? '', attempt, max: maxAttempts })
}

const waiting = (running) => running > 1 && ` · ${t('chat.waiting', { n: running - 1 })}`
