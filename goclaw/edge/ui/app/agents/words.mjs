// How agents are shown and what is asked of them, for the list and for one of them.
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'

export const LEVELS = ['off', 'auto', 'none', 'minimal', 'low', 'medium', 'high', 'xhigh']
const TONES = { active: 'ok', summoning: 'rests', summon_failed: 'error' }

export const Status = ({ status }) => html`<span class="status" data-status=${TONES[status]}>${t(`agents.status.${status}`)}</span>`
export const Face = ({ one }) => html`<span class="face" aria-hidden="true">${one.emoji || [...one.display_name][0]}</span>`

export const list = (text) => text.split(/[\s,]+/).filter(Boolean)
