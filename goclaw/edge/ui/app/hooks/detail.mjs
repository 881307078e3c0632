// One hook: what it is, what it would say of a call, what it said.
import { useEffect, useState } from 'preact/hooks'
import { duration } from '../core/format.mjs'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { href } from '../core/router.mjs'
import { JsonField, objectOf, textOf } from '../ui/json.mjs'
import { Table } from '../ui/list.mjs'
import { Ago, Icon, IconButton, reasonOf } from '../ui/parts.mjs'

const PAGE = 20 // rows
const COLUMNS = ['when', 'decision', 'took', 'run', 'why']
const TONES = { allow: 'ok', block: 'error', error: 'error', timeout: 'rests', not_asked: 'off' }

const Decision = ({ decision }) => html`<span class="status" data-status=${TONES[decision]}>${t(`hooks.decision.${decision}`)}</span>`

export function Detail({ hook, acts, onClose }) {
  return html`
    <section class="job hook" aria-label=${t('hooks.detail', { name: hook.name || t(`hooks.event.${hook.event}`) })}>
      <header class="page-bar"><h2>${hook.name || t(`hooks.event.${hook.event}`)}</h2>
        ${may('admin') && hook.source !== 'builtin' && html`<button type="button" onClick=${() => acts.edit(hook)}>${t('cron.act.edit')}</button>
          <button type="button" onClick=${() => acts.remove(hook)}>${t('delete')}</button>`}
        <${IconButton} icon="x" label=${t('close')} onClick=${onClose} /></header>
      <pre class="mono" tabindex="0" aria-label=${t('hooks.config')}>${hook.config.command ? [hook.config.command].flat().join(' ') : (hook.config.url ?? hook.config.prompt)}</pre>
      <p class="muted">${t('hooks.facts', { timeout: duration(hook.timeoutMs), late: t(`hooks.on_timeout.${hook.onTimeout}`) })}
        ${hook.ifExpr && html` · <code>${hook.ifExpr}</code>`}${hook.secretNames.length > 0 && ` · ${t('tools.env.set', { names: hook.secretNames.join(', ') })}`}</p>
      ${may(hook.handlerType === 'command' ? 'admin' : 'operator') && hook.handlerType !== 'prompt' && html`<${Trial} hook=${hook} />`}
      <${History} key=${hook.id} hook=${hook} />
    </section>`
}

function Trial({ hook }) {
  const [tool, setTool] = useState('exec')
  const [input, setInput] = useState('{}')
  const [prompt, setPrompt] = useState('')
  const [said, setSaid] = useState(null)
  const [busy, setBusy] = useState(false)
  const args = objectOf(input)
  const onSubmit = async (event) => {
    event.preventDefault()
    setBusy(true)
    const { event: what, handlerType, scope, matcher, ifExpr, timeoutMs, onTimeout, config, agentIds } = hook
    const sample = { toolName: tool, toolInput: args, rawInput: prompt }
    try {
      setSaid((await gateway.call('hooks.test', { config: { event: what, handlerType, scope, matcher, ifExpr, timeoutMs, onTimeout, config, agentIds }, sampleEvent: sample })).result)
    } catch (refusal) {
      setSaid({ decision: 'error', reason: reasonOf(refusal), durationMs: 0 })
    }
    setBusy(false)
  }
  return html`
    <form class="try" onSubmit=${onSubmit}><h3>${t('hooks.try')}</h3>
      ${hook.event === 'user_prompt_submit'
        ? html`<label class="field">${t('hooks.try.message')}<textarea rows="2" value=${prompt} onInput=${({ target }) => setPrompt(target.value)} /></label>`
        : html`<label class="field">${t('hooks.try.tool')}<input class="mono" maxlength="150" spellcheck=${false} value=${tool} onInput=${({ target }) => setTool(target.value)} /></label>
          <${JsonField} label=${t('tools.try.args')} text=${input} rows="3" onText=${setInput} />`}
      <p class="acts"><button type="submit" disabled=${busy || args === null}>${t('hooks.try')}</button></p>
      ${said && html`<div role="status" class="tried"><p><${Decision} decision=${said.decision} /> <span class="muted">${duration(said.durationMs)}</span></p>
        ${said.reason && html`<p>${said.reason}</p>`}${[said.stdout, said.stderr].filter(Boolean).map((text) => html`<pre key=${text} class="mono" tabindex="0">${text}</pre>`)}
        ${said.updatedInput && html`<pre class="mono" tabindex="0">${textOf(said.updatedInput)}</pre>`}</div>`}
    </form>`
}

function History({ hook }) {
  const [page, setPage] = useState(null)
  const [trouble, setTrouble] = useState('')
  const read = () => gateway.call('hooks.history', { hookId: hook.id, limit: PAGE }).then((found) => (setPage(found), setTrouble('')), (refusal) => setTrouble(reasonOf(refusal)))
  useEffect(() => {
    if (hook.source !== 'builtin') read()
  }, [hook.id])
  return html`
    <header class="page-bar"><h3>${t('hooks.history')}</h3><${IconButton} icon="rotate-cw" label=${t('refresh')} onClick=${read} /></header>
    ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
    ${page?.total === 0 && html`<p class="muted">${t('hooks.history.none')}</p>`}
    ${page?.total > 0 && html`<${Table} kind="decisions" words=${(name) => t(`hooks.past.${name}`)} columns=${COLUMNS} acts=${false}>
      ${page.executions.map((one) => html`<tr key=${one.id}><td><${Ago} at=${one.created_at} /></td><td><${Decision} decision=${one.decision} /></td><td>${duration(one.duration_ms)}</td>
        <td>${one.run_id && html`<a href=${href('runs', {}, one.run_id)}>${one.run_id.slice(-8)}</a>`}</td><td class="long" title=${one.error}>${one.error}</td></tr>`)}<//>`}`
}
