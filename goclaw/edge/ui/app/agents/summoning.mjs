// Files being written by a model, step by step as they come (agent-loop.md §19.6).
import { signal } from '@preact/signals'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Icon } from '../ui/parts.mjs'

const steps = signal({}) // agent id → events since the last start

gateway.on('agent.summoning', (event) => {
  const before = event.type === 'started' ? [] : (steps.value[event.agentId] ?? [])
  steps.value = { ...steps.value, [event.agentId]: [...before, event] }
})

export function Summoning({ one, again }) {
  const seen = steps.value[one.id] ?? []
  const written = seen.filter(({ type }) => type === 'file_generated')
  const failed = one.status === 'summon_failed'
  const busy = one.status === 'summoning'
  if (!busy && !failed && seen.length === 0) return null
  return html`
    <section class="summoning" aria-label=${t('agents.summoning')} data-busy=${String(busy)}>
      <p role="status">${busy && html`<i class="dot live"></i>`}${t(busy ? 'agents.summoning.busy' : failed ? 'agents.summoning.failed' : 'agents.summoning.done')}
        ${failed && again && html` <button type="button" onClick=${again}>${t('retry')}</button>`}</p>
      ${failed && one.summon_error && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${one.summon_error}</span></p>`}
      ${written.length > 0 && html`<ul>${written.map(({ file }) => html`<li key=${file}><${Icon} name="check" /><code>${file}</code></li>`)}</ul>`}
      ${seen.some(({ offline }) => offline) && html`<p class="muted">${t('agents.summoning.offline')}</p>`}
    </section>`
}
