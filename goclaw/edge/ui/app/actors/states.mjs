// How an actor's state looks and reads (dashboard.md §7.3).
import { duration, fullTime } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Icon } from '../ui/parts.mjs'
import { busy, label, pulsing } from './tree.mjs'

export const STATES = ['running', 'starting', 'backoff', 'quarantined', 'suspended', 'stopping', 'stopped']
export const shape = (node) => (busy(node) ? 'busy' : node.state)

export const Glyph = ({ node, now }) => html`<i class="glyph" data-state=${shape(node)} data-pulse=${!!pulsing(node, now)}></i>`

// One line: the state, and what follows from it.
export function stateText(node, now) {
  const left = Math.max(0, node.restart_at - now)
  if (node.restarting) return t('actors.restarting')
  if (busy(node)) return t('actors.busy', { time: duration(node.in_hand.age_ms), type: node.in_hand.type })
  if (node.state === 'running' && node.dormant) return t('actors.dormant')
  if (node.state === 'starting' && node.started_at) return `${t('actors.state.starting')} ${duration(Math.max(0, now - new Date(node.started_at)))}`
  if (node.state === 'backoff' && node.restart_at) {
    const { max, window } = budgetOf(node)
    const time = duration(left)
    return max ? t('actors.backoff.budget', { time, used: node.restarts_window ?? 0, max, window }) : t('actors.backoff.in', { time })
  }
  if (node.state === 'quarantined' && node.since) return t('actors.quarantined.since', { time: duration(Math.max(0, now - node.since)) })
  if (node.by && (node.state === 'suspended' || node.state === 'stopped')) return t('actors.by', { state: t(`actors.state.${node.state}`), by: node.by })
  return t(`actors.state.${node.state}`)
}

export function stateHint(node, now) {
  const lines = [stateText(node, now)]
  if (node.state === 'quarantined') lines.push(...[node.reason, t('actors.quarantined.clear')].filter(Boolean))
  if (node.last_error) lines.push(`${node.last_error.type}: ${node.last_error.message} (${fullTime(node.last_error.at)})`)
  return lines.join('\n')
}

// The limit an actor restarts under: {max, window in s}, where the gateway tells it.
export const budgetOf = ({ restart_limit: limit }) => ({ max: limit?.restarts, window: limit?.within })

export const Zombie = ({ node }) =>
  node.blocking?.zombie ? html`<span class="chip" data-tone="err" title=${t('actors.zombie.call', { time: duration(node.blocking.current_call_ms ?? 0) })}>${t('actors.zombie')}</span>` : null

// The end of a long name tells more than its beginning: the beginning is cut.
export const Name = ({ node }) => html`<span class="actor-name tail"><bdi>${label(node)}</bdi></span>`

export const Redacted = ({ node }) => (node.redacted ? html`<span title=${t('actors.redacted')}><${Icon} name="lock" /></span>` : null)

export const us = (value) => (value == null ? '' : value < 1000 ? `${Math.round(value)} µs` : duration(value / 1000))
