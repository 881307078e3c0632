// Gives an agent a heartbeat, or changes the one it has (sessions-lanes-cron.md §6.1). What is left empty is cleared.
import { useEffect, useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'

const SHORTEST = 5 // minutes
const OWN = ['none', 'last'] // channels that are none

export function HeartbeatForm({ row, onDone, onClose }) {
  const [form, setForm] = useState(() => formOf(row.heartbeat ?? {}))
  const [chats, setChats] = useState([])
  const [trouble, setTrouble] = useState('')
  useEffect(() => {
    gateway.call('heartbeat.targets', { agentId: row.id }).then(({ targets }) => setChats(targets), () => null)
  }, [])
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.type === 'checkbox' ? event.target.checked : event.target.value })
  const onSubmit = async () => {
    try {
      await gateway.call('heartbeat.set', { agentId: row.id, ...termsOf(form) })
      onDone()
    } catch (error) {
      setTrouble(reasonOf(error))
    }
  }
  const check = (name) => html`<label class="check"><input type="checkbox" checked=${form[name]} onChange=${set(name)} />${t(`beats.field.${name}`)}</label>`
  const field = (name, more) => html`<label class="field">${t(`beats.field.${name}`)}<input value=${form[name]} onInput=${set(name)} ...${more} /></label>`
  const known = form.chat === '' || chats.some((chat) => choice(chat) === form.chat)
  return html`
    <${Dialog} title=${t('beats.edit', { name: row.name })} yes=${t('save')} ready=${Number(form.minutes) >= SHORTEST} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <div class="checks">${check('enabled')}</div>
      ${field('minutes', { type: 'number', min: SHORTEST, step: 1, required: true })}
      <div class="pair">${field('activeHoursStart', { type: 'time' })}${field('activeHoursEnd', { type: 'time' })}</div>
      ${field('timezone', { spellcheck: false, maxlength: 64, placeholder: 'UTC' })}
      <label class="field">${t('beats.field.prompt')}<textarea rows="3" maxlength="8000" placeholder=${t('beats.prompt.default')} value=${form.prompt} onInput=${set('prompt')} /></label>
      <label class="field">${t('beats.field.chat')}<select onChange=${set('chat')}>
        ${OWN.map((name) => html`<option key=${name} value=${choice({ channel: name })} selected=${form.chat === choice({ channel: name })}>${t(`beats.chat.${name}`)}</option>`)}
        ${!known && !OWN.some((name) => form.chat === choice({ channel: name })) && html`<option value=${form.chat} selected>${JSON.parse(form.chat).join(' ')}</option>`}
        ${chats.map((chat) => html`<option key=${choice(chat)} value=${choice(chat)} selected=${form.chat === choice(chat)}>${chat.channel} ${chat.title || chat.chatId}</option>`)}</select></label>
      <div class="pair">${field('providerName', { maxlength: 50, spellcheck: false })}${field('model', { maxlength: 200, spellcheck: false })}</div>
      <div class="pair">${field('ackMaxChars', { type: 'number', min: 0, max: 100_000, required: true })}${field('maxRetries', { type: 'number', min: 0, max: 10, required: true })}</div>
      <div class="checks">${check('isolatedSession')}</div>
    <//>`
}

const choice = ({ channel, chatId = '' }) => JSON.stringify([channel, chatId])

const formOf = (heartbeat) => ({
  enabled: heartbeat.enabled ?? true,
  minutes: (heartbeat.intervalSec ?? 1800) / 60,
  activeHoursStart: heartbeat.activeHoursStart ?? '',
  activeHoursEnd: heartbeat.activeHoursEnd ?? '',
  timezone: heartbeat.timezone ?? '',
  prompt: heartbeat.prompt ?? '',
  chat: choice({ channel: heartbeat.channel ?? 'none', chatId: heartbeat.chatId ?? '' }),
  providerName: heartbeat.providerName ?? '',
  model: heartbeat.model ?? '',
  ackMaxChars: heartbeat.ackMaxChars ?? 300,
  maxRetries: heartbeat.maxRetries ?? 2,
  isolatedSession: heartbeat.isolatedSession ?? true,
})

function termsOf({ minutes, chat, ackMaxChars, maxRetries, enabled, isolatedSession, ...texts }) {
  const [channel, chatId] = JSON.parse(chat)
  const given = Object.entries({ ...texts, channel, chatId }).map(([name, text]) => [name, text || null])
  const numbers = { intervalSec: Math.round(Number(minutes) * 60), ackMaxChars: Number(ackMaxChars), maxRetries: Number(maxRetries) }
  return { enabled, isolatedSession, ...numbers, ...Object.fromEntries(given) }
}
