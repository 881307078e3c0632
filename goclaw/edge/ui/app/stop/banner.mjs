// Says above every page what is stopped, and lets an admin release it.
import { useState } from 'preact/hooks'
import { may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { confirm } from '../ui/confirm.mjs'
import { Ago, Icon, reasonOf } from '../ui/parts.mjs'
import { engaged, set, stopped } from './state.mjs'

export function StopBanner() {
  const [trouble, setTrouble] = useState('')
  const state = stopped.value
  if (!state || !engaged(state)) return null
  const { all, network, tools, domains, by, at, reason } = state
  const what = [all && t('stop.all'), network && t('stop.network'), tools.length > 0 && t('stop.tools', { names: tools.join(', ') }), domains.length > 0 && t('stop.domains', { names: domains.join(', ') })]
  const said = what.filter(Boolean).join(' · ')
  const release = async () => {
    if (!(await confirm(t('stop.release.ask'), said, t('stop.release')))) return
    await set(false, { all, network, tools, domains }, '').then(() => setTrouble(''), (refusal) => setTrouble(reasonOf(refusal)))
  }
  return html`<div class="banner stopped" role="alert"><${Icon} name="octagon-x" />
    <span><b>${t('stop.title')}</b> ${said} <span class="muted">${[by, reason].filter(Boolean).join(': ')}${at && html` · <${Ago} at=${at} />`}</span></span>
    ${trouble && html`<span>${trouble}</span>`}
    ${may('admin') && html`<button type="button" onClick=${release}>${t('stop.release')}</button>`}</div>`
}
