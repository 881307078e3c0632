// With whom an agent is shared, and as what.
import { useEffect, useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Ago, Icon, reasonOf } from '../ui/parts.mjs'

const ROLES = ['user', 'viewer', 'operator', 'admin']

export function Shares({ one }) {
  const [shares, setShares] = useState([])
  const [user, setUser] = useState('')
  const [role, setRole] = useState('user')
  const [trouble, setTrouble] = useState('')
  const act = async (method, params) => {
    try {
      if (method) await gateway.call(`agents.shares.${method}`, { id: one.id, ...params })
      setShares((await gateway.call('agents.shares.list', { id: one.id })).shares)
      setTrouble('')
      return true
    } catch (refusal) {
      setTrouble(reasonOf(refusal))
      return false
    }
  }
  useEffect(() => {
    act()
  }, [one.id])
  const onSubmit = async (event) => {
    event.preventDefault()
    if (await act('add', { user_id: user.trim(), role })) setUser('')
  }
  return html`
    <section class="shares" aria-label=${t('agents.section.shares')}><h3>${t('agents.section.shares')}</h3>
      ${shares.length === 0 && html`<p class="muted">${t(one.is_default ? 'agents.shares.everybody' : 'agents.shares.none')}</p>`}
      ${shares.length > 0 && html`<table class="table"><thead><tr><th scope="col">${t('agents.share.user')}</th><th scope="col">${t('agents.share.role')}</th><th scope="col">${t('agents.share.since')}</th><th scope="col"><span class="unseen">${t('cron.actions')}</span></th></tr></thead>
        <tbody>${shares.map((share) => html`<tr key=${share.user_id}><td>${share.user_id}</td><td>${t(`agents.role.${share.role}`)}</td><td><${Ago} at=${share.created_at} /></td>
          <td class="acts"><button type="button" class="quiet" onClick=${() => act('remove', { user_id: share.user_id })}>${t('agents.share.remove')}</button></td></tr>`)}</tbody></table>`}
      <form class="line-form" onSubmit=${onSubmit}>
        <label class="field">${t('agents.share.user')}<input maxlength="255" required spellcheck=${false} value=${user} onInput=${(event) => setUser(event.target.value)} /></label>
        <label class="field">${t('agents.share.role')}<select onChange=${(event) => setRole(event.target.value)}>${ROLES.map((name) => html`<option key=${name} value=${name} selected=${name === role}>${t(`agents.role.${name}`)}</option>`)}</select></label>
        <button type="submit" disabled=${user.trim() === ''}>${t('agents.share.add')}</button></form>
      ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
    </section>`
}
