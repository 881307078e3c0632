// Stops everything, the network, tools or domains (security.md §13).
import { useState } from 'preact/hooks'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'
import { set } from './state.mjs'

const words = (text) => text.split(/[\s,]+/).filter(Boolean)

export function StopButton() {
  const [open, setOpen] = useState(false)
  return html`<button type="button" class="stop" onClick=${() => setOpen(true)}><${Icon} name="octagon-x" />${t('stop.title')}</button>
    ${open && html`<${StopForm} onClose=${() => setOpen(false)} />`}`
}

function StopForm({ onClose }) {
  const [form, setForm] = useState({ all: true, network: false, tools: '', domains: '', reason: '' })
  const [trouble, setTrouble] = useState('')
  const put = (name) => (event) => setForm({ ...form, [name]: event.target.type === 'checkbox' ? event.target.checked : event.target.value })
  const levels = { all: form.all, network: form.network, tools: words(form.tools), domains: words(form.domains) }
  const ready = levels.all || levels.network || levels.tools.length > 0 || levels.domains.length > 0
  const onSubmit = () => set(true, levels, form.reason.trim()).then(onClose, (refusal) => setTrouble(reasonOf(refusal)))
  return html`
    <${Dialog} title=${t('stop.title')} yes=${t('stop.engage')} danger ready=${ready} onSubmit=${onSubmit} onClose=${onClose}>
      <p class="consequence"><${Icon} name="triangle-alert" /><span>${t('stop.hint')}</span></p>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <div class="checks">${['all', 'network'].map((name) => html`<label key=${name} class="check"><input type="checkbox" checked=${form[name]} onChange=${put(name)} />${t(`stop.${name}`)}</label>`)}</div>
      <label class="field">${t('stop.field.tools')}<input class="mono" spellcheck=${false} value=${form.tools} onInput=${put('tools')} /></label>
      <label class="field">${t('stop.field.domains')}<input class="mono" spellcheck=${false} value=${form.domains} onInput=${put('domains')} /></label>
      <label class="field">${t('stop.field.reason')}<input maxlength="500" value=${form.reason} onInput=${put('reason')} /></label>
    <//>`
}
