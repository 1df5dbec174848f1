/** The mark: a bell hung from its beam. */
export function BellMark({ size = 24, quiet = false }: { size?: number; quiet?: boolean }) {
  const metal = quiet ? 'var(--c-border-strong)' : 'var(--c-brass)';
  const beam = quiet ? 'var(--c-border)' : 'var(--c-accent)';
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path d="M4 6h24" stroke={beam} strokeWidth="3" strokeLinecap="round" />
      <path
        d="M16 6.500c-5 0-6.900 3.700-7.200 8.600-.2 3.200-1.200 5.300-3 7.100h20.400c-1.800-1.800-2.800-3.900-3-7.100-.3-4.900-2.200-8.600-7.200-8.600z"
        fill={metal}
      />
      <circle cx="16" cy="26" r="2.700" fill={beam} />
    </svg>
  );
}
