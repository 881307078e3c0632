// A new task: what to do, for which agent, how urgent.
import { useEffect, useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { uuid } from '../core/ids.mjs'
import { go } from '../core/router.mjs'
import { Dialog } from '../ui/dialog.mjs'
import { Icon, reasonOf } from '../ui/parts.mjs'

const URGENCY = { low: -60, normal: 0, high: 60 } // of −100 … 100

export function NewTask({ onClose }) {
  const [agents, setAgents] = useState([])
  const [content, setContent] = useState('')
  const [agent, setAgent] = useState('')
  const [urgency, setUrgency] = useState('normal')
  const [at, setAt] = useState('')
  const [trouble, setTrouble] = useState('')
  const [key] = useState(uuid) // pressed twice, stored once
  useEffect(() => {
    gateway.call('agents.list').then((found) => setAgents(found.agents), () => null)
  }, [])
  const onSubmit = async () => {
    try {
      const when = at && { runAt: new Date(at).toISOString() }
      const { run } = await gateway.call('runs.create', { content, priority: URGENCY[urgency], idempotencyKey: key, ...(agent && { agentId: agent }), ...when })
      onClose()
      go('runs', {}, run.id)
    } catch (error) {
      setTrouble(reasonOf(error))
    }
  }
  const input = (set) => (event) => set(event.target.value)
  return html`
    <${Dialog} title=${t('runs.new')} yes=${t('runs.new.go')} ready=${content.trim() !== ''} onSubmit=${onSubmit} onClose=${onClose}>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
      <label class="field">${t('runs.new.content')}<textarea rows="4" required value=${content} onInput=${input(setContent)}></textarea></label>
      <label class="field">${t('runs.col.agent')}<select onChange=${input(setAgent)}>
        <option value="" selected=${!agent}>${t('runs.new.default')}</option>
        ${agents.map(({ id, name }) => html`<option key=${id} value=${id} selected=${id === agent}>${name ?? id}</option>`)}</select></label>
      <label class="field">${t('runs.col.priority')}<select onChange=${input(setUrgency)}>
        ${Object.keys(URGENCY).map((name) => html`<option key=${name} value=${name} selected=${name === urgency}>${t(`runs.urgency.${name}`)}</option>`)}</select></label>
      <label class="field">${t('runs.new.at')}<input type="datetime-local" value=${at} onInput=${input(setAt)} /></label>
    <//>`
}
