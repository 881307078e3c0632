// Whether agents have a tool, in a word.
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'

export function stateOf({ enabled, tenant_enabled: tenant, available = true }) {
  if (!(tenant ?? enabled)) return 'off'
  return available ? 'on' : 'lacks'
}

export const Status = ({ one }) => {
  const state = stateOf(one)
  return html`<span class="status" data-status=${state === 'lacks' ? 'error' : state === 'on' ? 'ok' : 'off'}>${t(`tools.state.${state}`)}</span>`
}
