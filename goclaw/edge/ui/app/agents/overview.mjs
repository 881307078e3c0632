// Who an agent is: name, face, description; and how its files are written anew.
import { useState } from 'preact/hooks'
import { compact } from '../core/format.mjs'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { href } from '../core/router.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Ago, Icon, reasonOf } from '../ui/parts.mjs'
import { AgentForm, field } from './form.mjs'
import { Summoning } from './summoning.mjs'

const NAMES = ['display_name', 'emoji', 'description', 'frontmatter']
const read = (one) => Object.fromEntries(NAMES.map((name) => [name, one[name]]))
const wish = (form, changed) => Object.fromEntries(changed.map((name) => [name, form[name]]))

export function Overview({ one, own }) {
  const [asking, setAsking] = useState(false)
  const [trouble, setTrouble] = useState('')
  const resummon = () => gateway.call('agents.resummon', { id: one.id }).then(() => setTrouble(''), (refusal) => setTrouble(reasonOf(refusal)))
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
    <${Summoning} one=${one} again=${own && resummon} />
    ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
    ${own && one.agent_type === 'predefined' && one.status !== 'summoning' && html`<div class="saves">
      <button type="button" onClick=${() => setAsking(true)}>${t('agents.regenerate')}</button>
      <button type="button" disabled=${!one.description.trim()} onClick=${resummon}>${t('agents.resummon')}</button></div>`}
    <${AgentForm} one=${one} own=${own} label=${t('agents.tab.overview')} read=${read} wish=${wish}>
      ${(form, put) => html`
        <div class="pair wide">${field(form, put)('display_name', { maxlength: 255, required: true })}${field(form, put)('emoji', { maxlength: 16 })}</div>
        <label class="field">${t('agents.field.description')}<textarea rows="4" maxlength="8000" value=${form.description} onInput=${put('description')} /></label>
        <label class="field">${t('agents.field.frontmatter')}<textarea rows="3" maxlength="8000" value=${form.frontmatter} onInput=${put('frontmatter')} /></label>`}
    <//>
    <p><a href=${href('chat', { session: `agent:${one.agent_key}:ws:direct:${one.id.slice(-12)}` })}>${t('agents.talk', { name: one.display_name })}</a></p>
    ${asking && html`<${Regenerate} one=${one} onClose=${() => setAsking(false)} />`}`
}

function Regenerate({ one, onClose }) {
  const [prompt, setPrompt] = useState('')
  const [trouble, setTrouble] = useState('')
  const onSubmit = () => gateway.call('agents.regenerate', { id: one.id, prompt: prompt.trim() }).then(onClose, (refusal) => setTrouble(reasonOf(refusal)))
  return html`
    <${Dialog} title=${t('agents.regenerate')} yes=${t('agents.regenerate')} ready=${prompt.trim() !== ''} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <label class="field">${t('agents.field.prompt')}<textarea rows="5" maxlength="8000" value=${prompt} onInput=${(event) => setPrompt(event.target.value)} /></label>
    <//>`
}
