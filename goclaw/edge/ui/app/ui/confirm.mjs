// A yes-or-no question in a native dialog: focus trapped and returned, Esc says no.
import { t } from '../core/i18n.mjs'

const CALM = 500 // ms before yes can be pressed, against clicks meant for something else (dashboard.md §17.5)

export function confirm(question, detail, yes) {
  const dialog = document.createElement('dialog')
  dialog.className = 'confirm'
  const title = Object.assign(document.createElement('h2'), { id: 'confirm-title', textContent: question })
  const text = Object.assign(document.createElement('p'), { className: 'mono', textContent: detail })
  const no = Object.assign(document.createElement('button'), { textContent: t('cancel'), autofocus: true })
  const go = Object.assign(document.createElement('button'), { textContent: yes, className: 'primary', disabled: true })
  const row = Object.assign(document.createElement('div'), { className: 'actions' })
  dialog.setAttribute('aria-labelledby', title.id)
  row.append(no, go)
  dialog.append(title, text, row)
  document.body.append(dialog)
  dialog.showModal()
  setTimeout(() => (go.disabled = false), CALM)
  return new Promise((resolve) => {
    no.onclick = () => dialog.close()
    go.onclick = () => dialog.close('yes')
    dialog.onclose = () => {
      dialog.remove()
      resolve(dialog.returnValue === 'yes')
    }
  })
}
