// A form in a native dialog: focus trapped and returned, Esc closes, dangerous ones cannot be confirmed by a stray click.
import { useEffect, useRef, useState } from 'preact/hooks'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'

const CALM = 500 // ms before yes can be pressed (dashboard.md §17.5)

// `ready` false keeps the button off; `onSubmit` may be async, `busy` meanwhile; without `yes` it only closes.
export function Dialog({ title, yes, danger, ready = true, onSubmit, onClose, children }) {
  const box = useRef()
  const [calm, setCalm] = useState(!danger)
  const [busy, setBusy] = useState(false)
  useEffect(() => {
    const before = document.activeElement
    box.current.showModal()
    const timer = setTimeout(() => setCalm(true), CALM)
    return () => {
      clearTimeout(timer)
      before?.focus()
    }
  }, [])
  const submit = async (event) => {
    event.preventDefault()
    if (!ready || !calm || busy) return
    setBusy(true)
    await onSubmit()
    setBusy(false)
  }
  return html`
    <dialog class="confirm form-dialog" ref=${box} aria-labelledby="dialog-title" onClose=${onClose}>
      <form onSubmit=${submit}>
        <h2 id="dialog-title">${title}</h2>
        ${children}
        <div class="actions">
          <button type="button" autofocus onClick=${() => box.current.close()}>${t(yes ? 'cancel' : 'close')}</button>
          ${yes && html`<button type="submit" class="primary" data-danger=${!!danger} disabled=${!ready || !calm || busy}>${yes}</button>`}
        </div>
      </form>
    </dialog>`
}
