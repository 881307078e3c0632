// Logs an account in: a link to where it is asked, and a field for the address where the browser ended (providers.md §7.3).
import { useEffect, useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { Ago, Icon, reasonOf } from '../ui/parts.mjs'

export function Login({ onDone }) {
  const [status, setStatus] = useState(null)
  const [begun, setBegun] = useState('')
  const [address, setAddress] = useState('')
  const [trouble, setTrouble] = useState('')
  const [turn, setTurn] = useState(0)
  const look = () => setTurn((n) => n + 1)
  useEffect(() => {
    gateway.call('auth.openai.status', {}).then(setStatus).catch((error) => setTrouble(reasonOf(error)))
  }, [turn])
  useEffect(() => {
    addEventListener('focus', look) // back from the other page
    return () => removeEventListener('focus', look)
  }, [])
  const act = async (method, params) => {
    try {
      const answer = await gateway.call(method, params)
      setTrouble('')
      setBegun(answer.auth_url ?? '')
      setAddress('')
      look()
      onDone()
    } catch (error) {
      setTrouble(reasonOf(error))
    }
  }
  const onSubmit = (event) => {
    event.preventDefault()
    act('auth.openai.callback', { redirect_url: address.trim() })
  }
  const inside = status?.authenticated
  return html`
    <h3>${t('providers.account')}</h3>
    ${trouble && html`<p class="form-error" role="alert"><${Icon} name="circle-alert" /><span>${trouble}</span></p>`}
    ${status?.error && html`<p class="form-error"><${Icon} name="circle-alert" /><span>${status.error}</span></p>`}
    ${status && html`<p class="account">${t(inside ? 'providers.account.in' : 'providers.account.out')}
      ${inside && status.expires_at && html` <span class="muted"><${Ago} at=${Date.parse(status.expires_at)} /></span>`}
      ${inside ? html`<button type="button" onClick=${() => act('auth.openai.logout', {})}>${t('signout')}</button>`
        : html`<button type="button" onClick=${() => act('auth.openai.start', {})}>${t('providers.account.login')}</button>`}</p>`}
    ${begun && !inside && html`<p><a href=${begun} target="_blank" rel="noopener noreferrer">${t('providers.account.open')}</a></p>
      <form class="verify" onSubmit=${onSubmit}>
        <label class="field">${t('providers.account.paste')}<input class="mono" required spellcheck=${false} autocomplete="off" value=${address} onInput=${(event) => setAddress(event.target.value)} /></label>
        <button type="submit">${t('providers.account.end')}</button>
      </form>`}`
}
