// One agent: overview, files, config (dashboard.md §6.1, page 5).
import { useEffect, useState } from 'preact/hooks'
import { gateway, may } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { go, href, refine, route } from '../core/router.mjs'
import { Skeleton, Trouble } from '../ui/parts.mjs'
import { Tabs } from '../ui/tabs.mjs'
import { Config } from './config.mjs'
import { Files } from './files.mjs'
import { Overview } from './overview.mjs'
import { Face, Status } from './words.mjs'

const TABS = ['overview', 'files', 'config']

// `turn` changes when something about agents was heard.
export function OneAgent({ id, turn, live }) {
  const [one, setOne] = useState(null)
  const [error, setError] = useState(null)
  useEffect(() => {
    if (!live) return undefined
    let wanted = true
    gateway.call('agents.get', { id }).then(
      (found) => wanted && (setOne(found), setError(null)),
      (refusal) => wanted && refusal.details?.reason !== 'connection_lost' && setError(refusal),
    )
    return () => (wanted = false)
  }, [id, turn, live])
  if (error) return html`<div class="page"><${Trouble} error=${error} /><p><a href=${href('agents')}>${t('agents.all')}</a></p></div>`
  if (!one) return html`<${Skeleton} />`
  const { tab = 'overview' } = route.value.query
  const chosen = TABS.includes(tab) ? tab : 'overview'
  const own = may('admin')
  return html`
    <div class="page agent">
      <header class="page-bar"><h1><${Face} one=${one} /> ${one.display_name}</h1>
        ${one.is_default && html`<span class="role">${t('agents.default')}</span>`}<${Status} status=${one.status} />
        <a class="button" href=${href('agents')}>${t('agents.all')}</a></header>
      <${Tabs} tabs=${TABS.map((name) => [name, t(`agents.tab.${name}`)])} chosen=${chosen} label=${one.display_name} onChoose=${(name) => refine({ tab: name === 'overview' ? '' : name })}>
        ${chosen === 'overview' && html`<${Overview} one=${one} own=${own} />`}
        ${chosen === 'files' && html`<${Files} one=${one} turn=${turn} />`}
        ${chosen === 'config' && html`<${Config} one=${one} own=${own} onDone=${() => go('agents')} />`}
      <//>
    </div>`
}
