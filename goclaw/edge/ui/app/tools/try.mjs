// A tool is tried: what a call would be, and, if one wants it, the call itself.
import { useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'
import { exampleOf, SchemaField } from '../ui/schema.mjs'

export function TryOut({ tool, parameters, agent }) {
  const [args, setArgs] = useState(() => exampleOf(parameters))
  const [said, setSaid] = useState(null)
  const [busy, setBusy] = useState(false)
  const call = (dryRun) => async (event) => {
    event.preventDefault()
    setBusy(true)
    try {
      setSaid(await gateway.call('tools.invoke', { tool, args, dryRun, ...(agent && { agentId: agent }) }))
    } catch (error) {
      setSaid({ refusal: reasonOf(error) })
    }
    setBusy(false)
  }
  return html`<form class="try" onSubmit=${call(true)}>
    <${SchemaField} label=${t('tools.try.args')} schema=${parameters} value=${args} onValue=${setArgs} />
    <p class="acts"><button type="submit" disabled=${busy || args === null}>${t('tools.try')}</button>
      <button type="button" disabled=${busy || args === null} onClick=${call(false)}>${t('tools.run')}</button></p>
    ${said && html`<div role="status" class="tried"><${Said} said=${said} /></div>`}
  </form>`
}

function Said({ said }) {
  if (said.refusal) return html`<p class="status" data-status="error">${said.refusal}</p>`
  if (said.result) return html`<pre class="mono" tabindex="0" data-failed=${String(!said.ok)}>${said.result.content}</pre><p class="muted">${t('tools.took', { ms: said.duration_ms })}</p>`
  return html`
    ${said.allowed ? html`<p class="status" data-status="ok"><${Icon} name="check" /> ${t('tools.allowed')}</p>` : html`<p class="status" data-status="error">${said.reason}</p>`}
    ${said.problem && html`<p class="status" data-status="error">${said.problem}</p>`}
    ${said.command && html`<p class="muted">${t('tools.would')}</p><pre class="mono" tabindex="0">${said.command}</pre>`}`
}
