// Who an agent is: name, face, description; and how its files are written anew.
import { useState } from 'preact/hooks'
import { compact } from '../core/format.mjs'
import { may, post } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { go, href } from '../core/router.mjs'
import { confirm } from '../ui/confirm.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Ago, Icon, reasonOf } from '../ui/parts.mjs'
import { CreateForm } from './create.mjs'
import { AgentForm, field } from './form.mjs'
import { Summoning } from './summoning.mjs'
import { Wake } from './wake.mjs'

const NAMES = ['display_name', 'emoji', 'avatar', 'agent_type', 'description', 'frontmatter']
const read = (one) => Object.fromEntries(NAMES.map((name) => [name, one[name]]))
const TYPES = ['open', 'predefined']
const wish = (form, changed) => Object.fromEntries(changed.map((name) => [name, form[name]]))

export function Overview({ one, own }) {
  const [asking, setAsking] = useState(false)
  const [copying, setCopying] = useState(false)
  const [trouble, setTrouble] = useState('')
  const summon = () => post(`/v1/agents/${one.id}/resummon`).then(() => setTrouble(''), (refusal) => setTrouble(reasonOf(refusal)))
  const resummon = async () => (await confirm(t('agents.resummon.ask'), one.display_name, t('agents.resummon'))) && summon()
  const facts = [
    ['key', html`<code>${one.agent_key}</code>`],
    ['type', t(`agents.type.${one.agent_type}`)],
    ['answers', `${one.provider} · ${one.model}`],
    ['window', compact(one.context_window)],
    ['active', number(one.active_runs)],
    ['owner', one.owner_id],
    ['role', t(`agents.role.${one.my_role}`)],
    ['updated', html`<${Ago} at=${one.updated_at} />`],
  ]
  return html`
    <dl class="agent-facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${t(`agents.fact.${name}`)}</dt><dd>${value}</dd></div>`)}</dl>
    <${Summoning} one=${one} again=${own && summon} />
    ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
    <div class="saves"><a class="button" href=${href('chat', { session: `agent:${one.agent_key}:ws:direct:${one.id.slice(-12)}` })}>${t('agents.talk', { name: one.display_name })}</a>
      ${may('operator') && html`<${Wake} one=${one} />`}
      ${own && one.agent_type === 'predefined' && one.status !== 'summoning' && html`<button type="button" onClick=${() => setAsking(true)}>${t('agents.regenerate')}</button>
        <button type="button" disabled=${!one.description.trim()} onClick=${resummon}>${t('agents.resummon')}</button>`}
      ${may('admin') && html`<button type="button" onClick=${() => setCopying(true)}>${t('cron.act.copy')}</button>`}
      <button type="button" onClick=${() => save(one)}>${t('agents.export')}</button></div>
    <${AgentForm} one=${one} own=${own} label=${t('agents.tab.overview')} read=${read} wish=${wish}>
      ${(form, put) => html`
        <div class="pair wide">${field(form, put)('display_name', { maxlength: 255, required: true })}${field(form, put)('emoji', { maxlength: 16 })}</div>
        <div class="pair"><label class="field">${t('agents.field.type')}<select onChange=${put('agent_type')}>${TYPES.map((name) => html`<option key=${name} value=${name} selected=${name === form.agent_type}>${t(`agents.type.${name}`)}</option>`)}</select></label>
          ${field(form, put)('avatar', { maxlength: 2048, spellcheck: false })}</div>
        <label class="field">${t('agents.field.description')}<textarea rows="4" maxlength="8000" value=${form.description} onInput=${put('description')} /></label>
        <label class="field">${t('agents.field.frontmatter')}<textarea rows="3" maxlength="8000" value=${form.frontmatter} onInput=${put('frontmatter')} /></label>`}
    <//>
    ${copying && html`<${CreateForm} of=${one} onClose=${() => setCopying(false)} onDone=${(made) => go('agents', {}, made.agent_key)} />`}
    ${asking && html`<${Regenerate} one=${one} onClose=${() => setAsking(false)} />`}`
}

// The agent as JSON, for a file.
function save(one) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([JSON.stringify(one, null, 2)], { type: 'application/json' }))
  link.download = `${one.agent_key}.json`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}

function Regenerate({ one, onClose }) {
  const [prompt, setPrompt] = useState('')
  const [trouble, setTrouble] = useState('')
  const onSubmit = () => post(`/v1/agents/${one.id}/regenerate`, { prompt: prompt.trim() }).then(onClose, (refusal) => setTrouble(reasonOf(refusal)))
  return html`
    <${Dialog} title=${t('agents.regenerate')} yes=${t('agents.regenerate')} ready=${prompt.trim() !== ''} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <p>${t('agents.regenerate.hint')}</p>
      <label class="field">${t('agents.field.prompt')}<textarea rows="5" maxlength="8000" value=${prompt} onInput=${(event) => setPrompt(event.target.value)} /></label>
    <//>`
}
