// Pending approvals wherever one is: the bell, the number beside the page's name, and a notice for the newest.
import { signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { href, route } from '../core/router.mjs'
import { Icon, IconButton, say } from '../ui/parts.mjs'
import { pending } from './pending.mjs'

const SHOWN = 15_000 // ms; the bell stays

const shut = signal(new Set()) // ids whose notice was closed
const close = (id) => (shut.value = new Set([...shut.value, id]))

export const Count = () => pending.value.length > 0 && html`<span class="count">${pending.value.length}</span>`

export const Bell = () => pending.value.length > 0 && html`
  <a class="bell" href=${href('approvals')} aria-label=${t('approvals.wait', { n: pending.value.length })} title=${t('approvals.wait', { n: pending.value.length })}>
    <${Icon} name="bell" /><${Count} /></a>`

export function Notice() {
  const { page, query } = route.value
  const one = pending.value.findLast(({ id }) => !shut.value.has(id))
  useEffect(() => {
    if (one) say(t('approvals.card', { agent: one.agentId, tool: one.toolName }))
  }, [one?.id])
  const seen = !one || page === 'approvals' || (page === 'chat' && query.session === one.sessionKey)
  useEffect(() => {
    if (seen) return undefined
    const timer = setTimeout(() => close(one.id), SHOWN)
    return () => clearTimeout(timer)
  }, [seen, one?.id])
  if (seen) return null
  return html`
    <ul class="notices"><li data-tone="warn">
      <span>${t('approvals.card', { agent: one.agentId, tool: one.toolName })} <code>${one.command.slice(0, 80)}</code></span>
      <a class="button" href=${href('approvals')}>${t('approvals.look')}</a>
      <${IconButton} icon="x" label=${t('close')} onClick=${() => close(one.id)} /></li></ul>`
}
