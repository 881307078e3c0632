// What can be done to a session: a new name, a summary for old messages, an empty history, its end.
import { useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { confirm } from '../ui/confirm.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf, say } from '../ui/parts.mjs'
import { nameOf } from './session_list.mjs'

const SUMMARY = 400_000 // ms a model may take for a summary

export function SessionDialog({ row, onClose }) {
  const [label, setLabel] = useState(row.label ?? '')
  const [trouble, setTrouble] = useState('')
  const attempt = async (method, params, within) => {
    try {
      const answer = await gateway.call(method, { key: row.key, ...params }, { within })
      if (answer.skipped) return setTrouble(t('sessions.compact.skipped'))
      say(t('sessions.done'))
      onClose()
    } catch (error) {
      setTrouble(reasonOf(error))
    }
  }
  const sure = async (action) => {
    if (await confirm(t(`sessions.${action}.ask`), nameOf(row), t(`sessions.${action}`))) await attempt(`sessions.${action}`)
  }
  return html`
    <${Dialog} title=${nameOf(row)} yes=${t('sessions.rename')} onSubmit=${() => attempt('sessions.patch', { label: label.trim() || null })} onClose=${onClose}>
      <p class="mono">${row.key}</p>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <label class="field">${t('sessions.label')}<input maxlength="500" value=${label} onInput=${(event) => setLabel(event.target.value)} /></label>
      <div class="actions">
        <button type="button" onClick=${() => attempt('sessions.compact', {}, SUMMARY)}>${t('sessions.compact')}</button>
        <button type="button" onClick=${() => sure('reset')}>${t('sessions.reset')}</button>
        <button type="button" onClick=${() => sure('delete')}>${t('sessions.delete')}</button>
      </div>
    <//>`
}
