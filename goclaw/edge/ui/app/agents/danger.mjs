// The default agent, rest, and the end of one.
import { useState } from 'preact/hooks'
import { may, request } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'
import { change } from './form.mjs'

export function Danger({ one, onDone }) {
  const [asking, setAsking] = useState(false)
  const [trouble, setTrouble] = useState('')
  const update = (values) => change(one, values).then(() => setTrouble(''), (refusal) => setTrouble(reasonOf(refusal)))
  const active = one.status === 'active'
  return html`
    <section class="danger" aria-label=${t('agents.section.danger')}><h3>${t('agents.section.danger')}</h3>
      <div class="saves">
        ${!one.is_default && may('admin') && html`<button type="button" onClick=${() => update({ is_default: true })}>${t('agents.act.default')}</button>`}
        ${one.status !== 'summoning' && html`<button type="button" onClick=${() => update({ status: active ? 'inactive' : 'active' })}>${t(active ? 'cron.act.disable' : 'cron.act.enable')}</button>`}
        <button type="button" class="grave" disabled=${one.is_default} aria-describedby=${one.is_default ? 'why-not' : undefined} onClick=${() => setAsking(true)}>${t('delete')}</button>
        ${one.is_default && html`<span id="why-not" class="muted">${t('agents.default.protected')}</span>`}</div>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${asking && html`<${Delete} one=${one} onClose=${() => setAsking(false)} onDone=${onDone} />`}
    </section>`
}

function Delete({ one, onDone, onClose }) {
  const [typed, setTyped] = useState('')
  const [files, setFiles] = useState(false)
  const [trouble, setTrouble] = useState('')
  const onSubmit = () => request('DELETE', `/v1/agents/${one.id}`, { params: { delete_files: files } }).then(onDone, (refusal) => setTrouble(reasonOf(refusal)))
  return html`
    <${Dialog} title=${t('agents.delete.ask', { name: one.display_name })} yes=${t('delete')} danger ready=${typed === one.agent_key} onSubmit=${onSubmit} onClose=${onClose}>
      <p class="consequence"><${Icon} name="triangle-alert" /><span>${t('agents.delete.hint')}</span></p>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <div class="checks"><label class="check"><input type="checkbox" checked=${files} onChange=${(event) => setFiles(event.target.checked)} />${t('agents.delete.files')}</label></div>
      <label class="field">${t('agents.delete.type', { key: one.agent_key })}<input class="mono" autocomplete="off" spellcheck=${false} value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label>
    <//>`
}
