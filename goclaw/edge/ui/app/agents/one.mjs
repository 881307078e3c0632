// One agent: what it is, how it works, who uses it, what it did (dashboard.md §6.1, page 5).
import { useEffect, useState } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'
import { go, href, refine, route } from '../core/router.mjs'
import { Skeleton, Trouble } from '../ui/parts.mjs'
import { Tabs } from '../ui/tabs.mjs'
import { Config } from './config.mjs'
import { Files } from './files.mjs'
import { Instances } from './instances.mjs'
import { Overrides } from './overrides.mjs'
import { Overview } from './overview.mjs'
import { Runs } from './runs.mjs'
import { Shares } from './shares.mjs'
import { Usage } from './usage.mjs'
import { edits, Face, manages, Status } from './words.mjs'

const TABS = ['overview', 'config', 'files', 'usage', 'runs']
const MANAGED = ['shares', 'people'] // for those who say who uses it

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
  const tabs = [...TABS, ...(manages(one) ? MANAGED : [])]
  const chosen = tabs.includes(tab) ? tab : 'overview'
  const own = edits(one)
  return html`
    <div class="page agent">
      <header class="page-bar"><h1><${Face} one=${one} /> ${one.display_name}</h1>
        ${one.is_default && html`<span class="role">${t('agents.default')}</span>`}<${Status} status=${one.status} />
        <a class="button" href=${href('agents')}>${t('agents.all')}</a></header>
      <${Tabs} tabs=${tabs.map((name) => [name, t(`agents.tab.${name}`)])} chosen=${chosen} label=${one.display_name} onChoose=${(name) => refine({ tab: name === 'overview' ? '' : name })}>
        ${chosen === 'overview' && html`<${Overview} one=${one} own=${own} />`}
        ${chosen === 'files' && html`<${Files} one=${one} turn=${turn} />`}
        ${chosen === 'config' && html`<${Config} one=${one} own=${own} onDone=${() => go('agents')} />`}
        ${chosen === 'usage' && html`<${Usage} one=${one} live=${live} />`}
        ${chosen === 'runs' && html`<${Runs} one=${one} live=${live} />`}
        ${chosen === 'shares' && html`<${Shares} one=${one} /><${Overrides} one=${one} />`}
        ${chosen === 'people' && html`<${Instances} one=${one} live=${live} />`}
      <//>
    </div>`
}
