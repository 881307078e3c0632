// Whether a provider can be asked now, in a word, with the reason.
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'

export function stateOf({ enabled, usable, cooldowns }) {
  if (!enabled) return 'off'
  if (!usable) return 'broken'
  return cooldowns.length > 0 ? 'rests' : 'ready'
}

export const Status = ({ one }) => {
  const state = stateOf(one)
  return html`<span class="status" data-status=${state === 'broken' ? 'error' : state} title=${one.error}>${t(`providers.state.${state}`)}</span>`
}
