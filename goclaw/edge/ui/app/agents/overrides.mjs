// What is different when an agent answers one user (agent-loop.md §19.5).
import { useEffect, useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'
import { Level } from './config.mjs'

const EMPTY = { user: '', provider: '', model: '', temperature: '', max_tokens: '', thinking_level: '', language: '' }

export function Overrides({ one }) {
  const [rows, setRows] = useState([])
  const [form, setForm] = useState(null)
  const [trouble, setTrouble] = useState('')
  const read = () => gateway.call('agents.overrides.list', { id: one.id }).then((answer) => setRows(answer.overrides), (refusal) => setTrouble(reasonOf(refusal)))
  useEffect(() => {
    read()
  }, [one.id])
  const clear = (user) => gateway.call('agents.overrides.clear', { id: one.id, user_id: user }).then(read, (refusal) => setTrouble(reasonOf(refusal)))
  return html`
    <section class="overrides" aria-label=${t('agents.section.overrides')}>
      <header class="page-bar"><h3>${t('agents.section.overrides')}</h3><button type="button" onClick=${() => setForm(EMPTY)}>${t('agents.override.add')}</button></header>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${rows.length === 0 && html`<p class="muted">${t('agents.overrides.none')}</p>`}
      ${rows.length > 0 && html`<table class="table"><thead><tr><th scope="col">${t('agents.share.user')}</th><th scope="col">${t('agents.override.what')}</th><th scope="col"><span class="unseen">${t('cron.actions')}</span></th></tr></thead>
        <tbody>${rows.map((row) => html`<tr key=${row.user_id}><td>${row.user_id}</td><td><code>${words(row)}</code></td>
          <td class="acts"><button type="button" class="quiet" onClick=${() => setForm(formOf(row))}>${t('cron.act.edit')}</button>
            <button type="button" class="quiet" onClick=${() => clear(row.user_id)}>${t('delete')}</button></td></tr>`)}</tbody></table>`}
      ${form && html`<${OverrideForm} one=${one} form=${form} onClose=${() => setForm(null)} onDone=${() => {
        setForm(null)
        read()
      }} />`}
    </section>`
}

function OverrideForm({ one, form: start, onDone, onClose }) {
  const [form, setForm] = useState(start)
  const [trouble, setTrouble] = useState('')
  const put = (name) => (event) => setForm({ ...form, [name]: event.target.value })
  const onSubmit = async () => {
    const { user, temperature, max_tokens: most, ...texts } = form
    const named = Object.entries(texts).map(([name, value]) => [name, value || null])
    const numbers = { temperature: temperature === '' ? null : Number(temperature), max_tokens: most === '' ? null : Number(most) }
    try {
      await gateway.call('agents.overrides.set', { id: one.id, user_id: user.trim(), ...Object.fromEntries(named), ...numbers })
      onDone()
    } catch (refusal) {
      setTrouble(reasonOf(refusal))
    }
  }
  const input = (name, more) => html`<label class="field">${t(`agents.field.${name}`)}<input value=${form[name]} onInput=${put(name)} ...${more} /></label>`
  const some = Object.entries(form).some(([name, value]) => name !== 'user' && value !== '')
  return html`
    <${Dialog} title=${t('agents.section.overrides')} yes=${t('save')} ready=${form.user.trim() !== '' && some} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <label class="field">${t('agents.share.user')}<input maxlength="255" spellcheck=${false} readonly=${start.user !== ''} value=${form.user} onInput=${put('user')} /></label>
      <div class="pair">${input('provider', { maxlength: 50, spellcheck: false })}${input('model', { maxlength: 200, spellcheck: false })}</div>
      <div class="pair">${input('max_tokens', { type: 'number', min: 1, max: 1_000_000 })}${input('temperature', { type: 'number', min: 0, max: 2, step: 'any' })}</div>
      <div class="pair"><label class="field">${t('agents.field.thinking_level')}<${Level} value=${form.thinking_level} onChange=${put('thinking_level')} /></label>
        ${input('language', { maxlength: 64 })}</div>
    <//>`
}

const words = ({ provider, model, settings }) => [provider, model, ...Object.entries(settings).map(([name, value]) => `${name}=${value}`)].filter(Boolean).join(' · ')
const formOf = ({ user_id: user, provider, model, settings }) =>
  ({ ...EMPTY, user, provider: provider ?? '', model: model ?? '', ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)])) })
