// What a run did: the messages of its steps with what they cost, and what its tools did to the world.
import { useSignal } from '@preact/signals'
import { gateway } from '../core/gateway.mjs'
import { duration } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { Ago, Empty, Skeleton, Trouble } from '../ui/parts.mjs'

export function Steps({ work, id }) {
  const more = useSignal([])
  const next = useSignal(undefined) // undefined: as `work` says
  const error = useSignal(null)
  if (!work) return html`<${Skeleton} />`
  const from = next.value === undefined ? work.next_step_no : next.value
  const read = async () => {
    try {
      const page = await gateway.call('runs.work', { runId: id, fromStep: from })
      more.value = [...more.value, ...page.steps]
      next.value = page.next_step_no
      error.value = null
    } catch (refusal) {
      error.value = refusal
    }
  }
  const steps = [...work.steps, ...more.value]
  if (steps.length === 0) return html`<${Empty} title=${t('runs.steps.none')} />`
  return html`
    <ol class="run-steps">${steps.map((step) => html`<${Step} key=${step.step_no} step=${step} />`)}</ol>
    ${error.value && html`<${Trouble} error=${error.value} retry=${read} />`}
    ${from != null && html`<button type="button" onClick=${read}>${t('runs.steps.more')}</button>`}`
}

function Step({ step: { step_no: n, kind, message, usage, created_at: at } }) {
  const text = typeof message?.content === 'string' ? message.content : ''
  const calls = message?.tool_calls ?? []
  return html`
    <li><header><b>${number(n)}</b> ${t(`runs.step.${kind}`)}
        ${message?.tool_name && html` <code>${message.tool_name}</code>`}
        ${usage && html` <span class="muted">${t('runs.tokens', { input: number(usage.prompt_tokens ?? 0), output: number(usage.completion_tokens ?? 0) })}</span>`}
        <span class="grow"></span><${Ago} at=${at} /></header>
      ${text && html`<p class="step-text">${text}</p>`}
      ${calls.map((call) => html`<p key=${call.id} class="step-call"><code>${call.name}</code> <span class="mono">${JSON.stringify(call.arguments)}</span></p>`)}
      <details><summary>${t('runs.payload')}</summary><pre tabindex="0">${JSON.stringify(message, null, 2)}</pre></details></li>`
}

export function Effects({ effects }) {
  if (effects.length === 0) return html`<${Empty} title=${t('runs.effects.none')} hint=${t('runs.effects.none.hint')} />`
  return html`
    <div class="scroll-x" tabindex="0"><table class="table effects">
      <thead><tr>${['tool', 'class', 'outcome', 'step', 'took', 'external'].map((name) => html`<th key=${name} scope="col">${t(`runs.effect.${name}`)}</th>`)}</tr></thead>
      <tbody>${effects.map((effect) => html`
        <tr key=${effect.idempotency_key}>
          <td><code>${effect.tool}</code></td><td>${t(`runs.effect.class.${effect.effect_class}`)}</td>
          <td><span class="outcome" data-status=${effect.status}>${t(`runs.effect.status.${effect.status}`)}</span></td>
          <td class="number">${number(effect.step_no)}.${number(effect.call_index)}</td>
          <td>${effect.finished_at ? duration(new Date(effect.finished_at) - new Date(effect.started_at)) : ''}</td>
          <td class="mono">${effect.external_id ?? ''}</td></tr>`)}</tbody></table></div>`
}
