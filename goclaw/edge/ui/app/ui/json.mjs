// A JSON object in a text field: what it is, or null while it is none.
import { html } from '../core/html.mjs'

export function objectOf(text) {
  try {
    const value = JSON.parse(text.trim() || '{}')
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

export const textOf = (value) => JSON.stringify(value, null, 2)

export const JsonField = ({ label, text, rows = 6, onText }) => html`
  <label class="field">${label}<textarea class="mono" rows=${rows} spellcheck=${false} aria-invalid=${String(objectOf(text) === null)}
    value=${text} onInput=${(event) => onText(event.target.value)} /></label>`
