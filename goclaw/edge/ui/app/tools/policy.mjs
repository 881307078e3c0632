// Which tools a run of an agent would have, as its rules stand or with others (tools.md §4, §23 T3).
import { useEffect, useState } from 'preact/hooks'
import { list } from '../agents/words.mjs'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Icon, IconButton, reasonOf } from '../ui/parts.mjs'

const PROFILES = ['full', 'coding', 'messaging', 'minimal']
const LISTS = ['allow', 'deny', 'alsoAllow']
const NOTHING = { agent: '', provider: '', profile: '', allow: '', deny: '', alsoAllow: '', subagent: false }

export function Policy({ tools, onClose }) {
  const [agents, setAgents] = useState([])
  const [form, setForm] = useState(NOTHING)
  const [names, setNames] = useState(null)
  const [trouble, setTrouble] = useState('')
  const put = (name) => ({ target }) => setForm({ ...form, [name]: target.type === 'checkbox' ? target.checked : target.value })
  const look = async () => {
    const said = Object.fromEntries(LISTS.map((name) => [name, list(form[name])]).filter(([, entries]) => entries.length > 0))
    const rules = { ...(form.profile && { profile: form.profile }), ...said }
    try {
      const run = { provider: form.provider.trim(), subagent: form.subagent }
      const answer = await gateway.call('tools.policy.preview', { run, ...(form.agent && { agentId: form.agent }), ...(Object.keys(rules).length > 0 && { agent: rules }) })
      setNames(answer.tools)
      setTrouble('')
    } catch (refusal) {
      setTrouble(reasonOf(refusal))
    }
  }
  useEffect(() => {
    gateway.call('agents.list', {}).then((answer) => setAgents(answer.agents), (refusal) => setTrouble(reasonOf(refusal)))
    look()
  }, [])
  const onSubmit = (event) => {
    event.preventDefault()
    look()
  }
  const without = names && tools.filter(({ name }) => !names.includes(name))
  return html`
    <section class="job policy" aria-label=${t('tools.policy')}>
      <header class="page-bar"><h2>${t('tools.policy')}</h2><${IconButton} icon="x" label=${t('close')} onClick=${onClose} /></header>
      <p class="muted">${t('tools.policy.hint')}</p>
      <form onSubmit=${onSubmit}>
        <div class="pair">
          <label class="field">${t('tools.col.agent')}<select onChange=${put('agent')}><option value="">${t('agents.default')}</option>
            ${agents.map(({ id, name }) => html`<option key=${id} value=${id} selected=${id === form.agent}>${name}</option>`)}</select></label>
          <label class="field">${t('agents.field.profile')}<select onChange=${put('profile')}><option value="">${t('tools.policy.stands')}</option>
            ${PROFILES.map((name) => html`<option key=${name} selected=${name === form.profile}>${name}</option>`)}</select></label>
          ${LISTS.map((name) => html`<label key=${name} class="field">${t(`agents.field.${name}`)}<input class="mono" spellcheck=${false} value=${form[name]} onInput=${put(name)} /></label>`)}
          <label class="field">${t('agents.field.provider')}<input maxlength="50" spellcheck=${false} value=${form.provider} onInput=${put('provider')} /></label></div>
        <div class="checks"><label class="check"><input type="checkbox" checked=${form.subagent} onChange=${put('subagent')} />${t('tools.policy.subagent')}</label></div>
        <button type="submit">${t('tools.policy.look')}</button>
      </form>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      ${names && html`<div role="status"><h3>${t('tools.policy.has', { n: names.length })}</h3><p class="names">${names.map((name) => html`<code key=${name}>${name}</code> `)}</p>
        ${without.length > 0 && html`<h3>${t('tools.policy.lacks', { n: without.length })}</h3><p class="names muted">${without.map(({ name }) => html`<code key=${name}>${name}</code> `)}</p>`}</div>`}
    </section>`
}
