// How agents are shown and what is asked of them, for the list and for one of them.
import { may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'

export const LEVELS = ['off', 'auto', 'none', 'minimal', 'low', 'medium', 'high', 'xhigh']
const TONES = { active: 'ok', summoning: 'rests', summon_failed: 'error' }

export const Status = ({ status }) => html`<span class="status" data-status=${TONES[status]}>${t(`agents.status.${status}`)}</span>`
export const Face = ({ one }) => html`<span class="face" aria-hidden="true">${one.emoji || [...one.display_name][0]}</span>`

// Whether the signed-in person may change what an agent is, or also who uses it and how.
export const edits = (one) => may('admin') || (may('operator') && ['owner', 'admin', 'operator'].includes(one.my_role))
export const manages = (one) => may('admin') || (may('operator') && ['owner', 'admin'].includes(one.my_role))

export const list = (text) => text.split(/[\s,]+/).filter(Boolean)
